import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from lib import cue_conflict, datasets, microcosm, robustness
from lib.constraint import NATURAL
from lib.images import Images, sample
from lib.shape_bias import answers
from lib.studies import Ladder, cue_use, cues
from lib.studies.cue_use import accuracies, pulled_apart


def test_accuracies_of_each_version(natural, world):
    images = world[1][:100]
    blank = Images(torch.full_like(images.x, 127), images.y, images.classes)
    rows = accuracies(natural, {"same": images, ("low-pass", 0.25): blank})
    assert [row["version"] for row in rows] == ["same", "low-pass 0.25"]
    assert [(row["filter"], row["at"]) for row in rows] == [(None, None), ("low-pass", 0.25)]
    assert rows[0]["accuracy"] == robustness.accuracy(natural, images)
    (answer,) = answers(natural, blank.x[:1])
    assert rows[1]["accuracy"] == pytest.approx(float((images.y == answer).double().mean()))


def test_versions_take_one_cue_after_another():
    images = microcosm.draw(20, 1)
    made = cue_use.versions(images, drawn=True)
    assert list(made)[:8] == [
        "as it is", "texture flattened", "silhouettes", "edges", "phases at random",
        "patches, 2 × 2", "patches, 4 × 4", "patches, 8 × 8",
    ]  # fmt: skip
    x = images.x
    for key, expected in {
        "as it is": x,
        "edges": cues.edges(x),
        "patches, 4 × 4": cues.shuffled(x, 4),
        ("low-pass", 0.12): cues.low_pass(x, 0.12),
        ("high-pass", 0.5): cues.high_pass(x, 0.5),
        ("low resolution", 8): cues.low_resolution(x, 8),
        "texture not drawn": microcosm.draw(20, 5, amplitude=0).x,
        "shape not drawn": microcosm.draw(20, 5, contrast=(0, 0)).x,
    }.items():
        assert torch.equal(made[key].x, expected), key
    ranges = [key for key in made if isinstance(key, tuple)]
    assert [kind for kind, _ in ranges] == ["low-pass"] * 5 + ["high-pass"] * 5 + [
        "low resolution"
    ] * 5
    others = cue_use.versions(images, drawn=False)
    assert set(made) - set(others) == {"texture not drawn", "shape not drawn"}


def test_versions_fit_the_size_of_the_images():
    small = datasets.load("faces", "test", n=10, size=12)
    made = cue_use.versions(small, drawn=False)
    assert {part.x.shape for part in made.values()} == {(10, 3, 12, 12)}
    assert [key for key in made if "patches" in key] == ["patches, 2 × 2", "patches, 4 × 4"]
    assert [at for kind, at in (k for k in made if isinstance(k, tuple)) if "low r" in kind] == [
        4, 8, 12,
    ]  # fmt: skip


def test_rows_of_versions_are_tidy_and_kept(natural, world, tmp_path):
    versions = cue_use.versions(world[1][:30], drawn=True)
    networks = {(NATURAL, 0): natural, (NATURAL, 1): natural}
    plain = Ladder(networks).measure(accuracies, label="cues", versions=versions)
    kept = Ladder(networks, rows_file=str(tmp_path / "rows.jsonl"))
    for _ in range(2):
        rows = kept.measure(accuracies, label="cues", versions=versions)
        assert list(rows["version"]) == list(plain["version"])
        assert np.array_equal(rows["accuracy"], plain["accuracy"])
    for found in (plain, rows):
        filters = found[found["source_seed"] == 0].dropna(subset=["filter"])
        assert len(filters) == 15 and filters["at"].dtype == float
        assert found.loc[found["filter"].isna(), "at"].isna().all()


def test_targets_of_one_cue_are_drawn_where_they_can_be():
    train, test = microcosm.draw(60, 0, size=40), microcosm.draw(60, 1, size=40)
    targets = cue_use.one_cue_targets(train, test, 50, drawn=True)
    for name, absent in (
        ("shape alone", {"amplitude": 0}),
        ("texture alone", {"contrast": (0, 0)}),
    ):
        for part, seed in zip(targets[name], (11, 12), strict=True):
            assert torch.equal(part.x, microcosm.draw(50, seed, size=40, **absent).x)
    faces = datasets.pair("faces")
    made = cue_use.one_cue_targets(*faces, 50, drawn=False)
    for name, take in (
        ("shape alone", cues.without_texture),
        ("texture alone", cues.without_shape),
    ):
        for part, images in zip(made[name], faces, strict=True):
            some = sample(images, min(50, len(images)), seed=0)
            assert torch.equal(part.x, take(some.x)) and torch.equal(part.y, some.y)


@pytest.mark.parametrize("kind", ["drawn", "phase"])
def test_conflicts_by_name(kind, world):
    found, mapping = pulled_apart(kind, world[1], 20, seed=2)
    made = {
        "drawn": lambda: cue_conflict.drawn(20, 2),
        "phase": lambda: cue_conflict.phase_against_amplitude(world[1], 20, 2),
    }[kind]()
    assert torch.equal(found.x, made.x) and mapping is None


def test_conflicts_have_the_size_of_the_images(tmp_path):
    images = datasets.load("microcosm", n=20, size=40)
    assert pulled_apart("drawn", images, 20)[0].x.shape == (20, 3, 40, 40)
    assert pulled_apart("phase", images, 20)[0].x.shape == (20, 3, 40, 40)
    (tmp_path / "star").mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "star" / "star1-disc2.png")
    assert pulled_apart(str(tmp_path), images, 20)[0].x.shape == (1, 3, 40, 40)


def test_published_conflicts_by_folder(tmp_path, world):
    (tmp_path / "star").mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "star" / "star1-disc2.png")
    found, mapping = pulled_apart(str(tmp_path), world[1], 20)
    assert found.classes == ("disc", "star") and len(found) == 1
    assert mapping.tolist() == [0, -1, -1, -1, -1, 1, -1, -1, -1, -1]


def test_drawn_conflicts_of_other_classes_are_refused():
    with pytest.raises(ValueError, match="only be drawn of the microcosm's classes, not of 0, 1"):
        pulled_apart("drawn", datasets.load("digits", "test"), 20)


def test_photographs_give_conflicts_too():
    faces = datasets.load("faces", "test")
    found = cue_conflict.phase_against_amplitude(faces, 12, 0)
    assert sorted(zip(found.shape.tolist(), found.texture.tolist(), strict=True)) == [
        *[(0, 1)] * 6,
        *[(1, 0)] * 6,
    ]


def test_shares_of_what_was_asked():
    rows = pd.DataFrame(
        {
            "constraint": [NATURAL] * 2, "source_seed": [0, 1], "conflicts": 40,
            "counted": [10, 30], "shape_bias": [0.2, np.nan], "shape_bias_of_all": [0.2, 0.4],
            "decided_of_all": 0.5, "shape_known": np.nan, "texture_known": 0.7,
        }
    )  # fmt: skip
    found = cue_use.shares(rows).set_index("share")
    assert list(found.index) == [
        "texture alone", "conflicts that count", "shape bias", "bias of all conflicts",
        "of all, decided for a cue",
    ]  # fmt: skip
    assert found.loc["conflicts that count", ["mean", "low", "high"]].tolist() == [0.5, 0.25, 0.75]
    assert found.loc["bias of all conflicts", ["low", "high"]].tolist() == [0.2, 0.4]
    assert found.loc["shape bias", ["low", "high"]].isna().all()  # of one seed
    assert found["seeds"].tolist() == [2, 2, 1, 2, 2] and found.loc["shape bias", "mean"] == 0.2
    assert "for the phase" in set(cue_use.shares(rows, "phase")["share"])


def test_a_conflict_of_each_pair():
    images = microcosm.draw(60, 1, size=40)
    x = cue_use.all_pairs(images, 3, drawn=True)
    shape, texture = [0, 0, 0, 1, 1, 1, 2, 2, 2], [0, 1, 2] * 3
    assert torch.equal(x, microcosm.draw(9, 3, shape=shape, texture=texture, size=40).x)
    faces = datasets.load("faces", "test")
    x = cue_use.all_pairs(faces, 2, drawn=False)
    pairs = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
    made = cue_conflict.phase_against_amplitude(faces, 4, 0, pairs=pairs)
    assert torch.equal(x, made.x)
