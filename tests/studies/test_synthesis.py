"""Images that networks are run backwards to: held against the plain calls that they stand for."""

import numpy as np
import pandas as pd
import pytest
import torch

from lib import features, microcosm, stats
from lib.attacks import L2
from lib.constraint import NATURAL, Constraint
from lib.images import sample
from lib.studies import By, Ladder, likeness, pretrained, synthesis
from lib.studies.ladder import NETWORK
from lib.training import pixels

ROBUST = Constraint("l2", 0.25)
SEARCH = {"steps": 4, "size": 1.0, "ball": L2(2.0)}
KEEP = [0, 2, 4]


@pytest.fixture(scope="module")
def ladder(natural, robust):
    return Ladder({(NATURAL, 0): natural, (ROBUST, 0): robust})


@pytest.fixture(scope="module")
def jury(natural, robust):
    return {"one": [robust], "both": [natural, robust]}


@pytest.fixture(scope="module")
def matched(world):
    return sample(world[1], 6, seed=0)


@pytest.fixture(scope="module")
def others(world, matched):
    return world[1][likeness.elsewhere(matched.y, world[1].y, seed=0)]


@pytest.fixture(scope="module")
def inverted(ladder, jury, matched, others):
    call = {"images": matched, "others": others, "jury": jury, "keep": KEEP, **SEARCH}
    return ladder.each(synthesis.invert, label="inverted", **call)


def starts(others, seed):
    noise = features.noise(len(others), 32, seed=seed)
    return {"noise": noise, "another image": pixels(others.x)}


def check(one, made, begin, y, jury, what):
    """Hold pictures and rows against {step: images} that were made by hand."""
    assert [row["start"] for row in one.rows] == list(one.pictures) == list(begin)
    for place, (start, row) in enumerate(zip(begin, one.rows, strict=True)):
        half = slice(place * len(y), (place + 1) * len(y))
        assert list(one.pictures[start]) == list(made)
        for step, images in made.items():
            torch.testing.assert_close(one.pictures[start][step], images[half], rtol=0, atol=1e-4)
        last = one.pictures[start][max(made)]
        expected = likeness.recognised(jury, last, y)
        assert {cue: row[cue] for cue in jury} == expected and row["what"] == what
    assert torch.equal(one.pictures["another image"][0], begin["another image"])


def test_features_are_matched_from_noise_and_from_other_images(
    ladder, jury, matched, others, inverted
):
    begin, x = starts(others, 0), pixels(matched.x)
    for key, model in ladder.networks.items():
        target = features.vectors(model, torch.cat([x, x]))
        first = torch.cat(list(begin.values()))
        made = features.match(model, first, target, keep=KEEP, **SEARCH)
        check(inverted[key], made, begin, matched.y, jury, "features of an image")
        for row in inverted[key].rows:
            last = inverted[key].pictures[row["start"]][4]
            left = features.distance(features.vectors(model, last), target[: len(x)])
            assert row["left"] == pytest.approx(float(left.mean()), rel=1e-3)
            covered = likeness.covered(last, begin[row["start"]], x).mean()
            assert row["covered"] == pytest.approx(float(covered))
            assert row["ssim"] == pytest.approx(float(likeness.similarity(last, x).mean()))


def test_single_features_are_maximised_for_the_class_that_has_most_of_them(ladder, jury, world):
    seen, pool = sample(world[0], 200, seed=0), world[1]
    call = {"seen": seen, "pool": pool, "count": 5, "jury": jury, "keep": KEEP, **SEARCH}
    found = ladder.each(synthesis.maximise, label="maximised", **call)
    for key, model in ladder.networks.items():
        vectors = features.vectors(model, pixels(seen.x))
        generator = torch.Generator().manual_seed(0)
        units = torch.randperm(vectors.shape[1], generator=generator)[:5]
        y = likeness.favourites(vectors, seen.y)[units]
        chosen = pool[likeness.elsewhere(y, pool.y, seed=1)]
        assert not (chosen.y == y).any()
        begin = starts(chosen, 2)
        first = torch.cat(list(begin.values()))
        made = features.maximise(model, first, units.repeat(2), keep=KEEP, **SEARCH)
        check(found[key], made, begin, y, jury, "a single feature")


def test_classes_are_synthesised(ladder, jury, world):
    call = {"pool": world[1], "jury": jury, "keep": KEEP, **SEARCH}
    found = ladder.each(synthesis.synthesise, label="synthesised", **call)
    y = torch.arange(10)
    begin = starts(world[1][likeness.elsewhere(y, world[1].y, seed=2)], 3)
    for key, model in ladder.networks.items():
        first = torch.cat(list(begin.values()))
        made = features.synthesise(model, first, y.repeat(2), keep=KEEP, **SEARCH)
        check(found[key], made, begin, y, jury, "a class")


def test_sequences_lead_from_an_image_to_the_one_whose_features_were_matched(
    ladder, jury, matched, others, inverted
):
    call = {"images": others[:3], "goals": matched[:3], "jury": jury, **SEARCH}
    before = By(NETWORK, inverted)
    turned = ladder.each(synthesis.interpolate, label="turned", inverted=before, **call)
    for key, model in ladder.networks.items():
        path, rows = turned[key]
        a, b = pixels(others[:3].x), pixels(matched[:3].x)
        assert torch.equal(path[0], a)
        assert torch.equal(path[4], inverted[key].pictures["another image"][4][:3])
        between = features.interpolate(model, a, b, shares=[0.25, 0.5, 0.75], **SEARCH)
        torch.testing.assert_close(path[1:4], between, rtol=0, atol=1e-4)
        assert rows == [
            {
                cue: likeness.order(judges, path, others[:3].y, matched[:3].y)
                for cue, judges in jury.items()
            }
        ]


def test_gradients_are_mapped_and_measured_where_masks_are_known(ladder):
    images, inside = microcosm.draw(20, 5), likeness.masks(20, 5)
    found = ladder.each(synthesis.gradients, label="gradients", images=images, inside=inside)
    for key, model in ladder.networks.items():
        maps = features.saliency(model, pixels(images.x), images.y)
        torch.testing.assert_close(found[key].pictures, maps, rtol=1e-3, atol=1e-6)
        own, others = likeness.concentration(found[key].pictures, inside)
        (row,) = found[key].rows
        assert row["own"] == pytest.approx(float(own.mean()))
        assert row["others"] == pytest.approx(float(others.mean()))
        assert row["excess"] == row["own"] - row["others"]
    assert synthesis.gradients(model, images).rows == []


def test_pictures_are_those_of_one_seed():
    made = {(name, seed): synthesis.Made(seed, []) for name in (ROBUST, NATURAL) for seed in (0, 1)}
    assert synthesis.pictures(made) == {ROBUST: 0, NATURAL: 0}
    assert synthesis.pictures(made, "class", without=NATURAL) == {"ℓ2 0.25: class": 0}


def test_rows_of_all_networks_and_experiments(inverted, ladder):
    rows = synthesis.rows(inverted, inverted)
    assert list(rows) == ["constraint", "source_seed", "what", "start", "measure", "value"]
    assert list(rows["measure"].unique()) == [
        "one", "both", "features left", "way to the pixels", "structure",
    ]  # fmt: skip
    assert (rows["source_seed"] == 0).all()
    for key in ("one", "ssim"):
        part = rows[rows["measure"] == synthesis.MEASURES.get(key, key)]
        assert list(part["constraint"]) == [NATURAL, NATURAL, ROBUST, ROBUST] * 2
        assert list(part["start"]) == ["noise", "another image"] * 4
        expected = [row[key] for one in inverted.values() for row in one.rows]
        assert list(part["value"]) == expected * 2
    # What was not measured gives no row, beside others and alone.
    alone = ladder.each(synthesis.gradients, label="gradients", images=microcosm.draw(2, 5))
    assert synthesis.rows(alone).empty and "value" in synthesis.rows(alone)
    assert len(synthesis.rows(alone, inverted)) == len(rows) / 2


def test_intervals_of_measures_end_where_these_do():
    values = {
        "features left": (0.01, 0.3), "way to the pixels": (0.99, 0.2), "structure": (-0.9, 0.9),
        "excess": (-0.5, 3.0),
    }  # fmt: skip
    rows = pd.DataFrame(
        {"constraint": NATURAL, "source_seed": seed, "measure": measure, "value": value}
        for measure, pair in values.items()
        for seed, value in enumerate(pair)
    )
    found = synthesis.levels(rows, ["constraint"]).set_index("measure")
    assert list(found.index) == list(values)
    for measure, (low, high) in {
        "features left": (0, np.inf), "way to the pixels": (-np.inf, 1), "structure": (-1, 1),
        "excess": stats.NONE,
    }.items():  # fmt: skip
        expected = stats.interval(values[measure], limits=(low, high))
        assert tuple(found.loc[measure, ["mean", "low", "high"]]) == pytest.approx(expected)
    once = synthesis.levels(rows[rows["source_seed"] == 0], ["constraint"])
    assert once["low"].isna().all() and len(once) == len(values)
    assert synthesis.levels(rows[:0], ["constraint"]).empty


def test_judges_are_examined_on_images_and_in_noise(jury, world, monkeypatch):
    test = world[1]
    for most, asked in ((len(test), test), (20, sample(test, 20, seed=0))):
        monkeypatch.setattr(synthesis, "ASKED", most)
        found = synthesis.examined(jury, test)
        x = pixels(asked.x)
        noisy = (x + features.noise(len(x), 32, seed=1) - 0.5).clamp(0, 1)
        assert found["test images"].to_dict() == likeness.recognised(jury, x, asked.y)
        assert found["in noise"].to_dict() == likeness.recognised(jury, noisy, asked.y)


def test_judges_learn_one_cue_each_or_the_classes(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "CACHE", tmp_path)
    monkeypatch.setattr("lib.runtime.parallel.cpu_count", lambda: 1)
    given = {"judges": 2, "seeds": 1, "source_epochs": 1, "attack_steps": 1, "device": "cpu"}
    train, test = microcosm.draw(60, 0), microcosm.draw(20, 1)
    how = {"epochs": 1, "attack_steps": 1, "device": "cpu"}

    def same(model, expected):
        return torch.equal(model.head.weight, expected.head.weight)

    found = synthesis.jury(given, train, test, drawn=True)
    assert {cue: len(judges) for cue, judges in found.items()} == {
        "judges of the shape": 2, "judges of the texture": 2, "robust judges of the shape": 2,
    }  # fmt: skip
    for cue, learned, constraint in (
        ("judges of the shape", "shape", NATURAL), ("judges of the texture", "texture", NATURAL),
        ("robust judges of the shape", "shape", ROBUST),
    ):  # fmt: skip
        lessons = likeness.lessons(learned, 60, 70)
        for seed, judge in enumerate(found[cue], start=1000):
            assert same(judge, pretrained.source(lessons, test, constraint, seed=seed, **how)[0])
    ((cue, judges),) = synthesis.jury(given, train, test, drawn=False).items()
    assert cue == "judges of the class"
    assert same(judges[1], pretrained.source(train, test, seed=1001, **how)[0])
