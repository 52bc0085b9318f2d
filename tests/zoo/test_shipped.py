"""Sources that come with the book: written, listed, read; and each of those that are there."""

import json
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
import safetensors.torch
import torch

from lib.book import notebooks
from lib.constraint import NATURAL, UNTRAINED, Constraint
from lib.runtime import files, fingerprint
from lib.zoo import models, shipped

L2, LINF = Constraint("l2", 0.5), Constraint("linf", 2 / 255)


def made(constraint, seed, **more):
    """A small network, and the record that it is stored with."""
    how = {"constraint": constraint.name, "amount": constraint.amount, "seed": seed}
    how |= {"arch": "small_resnet", "width": 2}
    model = models.build("small_resnet", 3, seed=seed, width=2).eval()
    return model, {"parameters": how, "classes": 3, **more}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Natural sources of two seeds, and one under each of two balls."""
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "sources")
    for key in ((LINF, 0), (NATURAL, 1), (NATURAL, 0), (L2, 0)):
        shipped.write(*made(*key))
    return tmp_path / "sources"


def test_what_is_written_is_listed_and_read(folder):
    there = shipped.available()
    assert list(there) == [(NATURAL, 0), (NATURAL, 1), (L2, 0), (LINF, 0)]
    assert [path.name for path in there.values()] == [
        "natural_seed0.safetensors", "natural_seed1.safetensors",
        "l2_0.5_seed0.safetensors", "linf_2-255_seed0.safetensors",
    ]  # fmt: skip
    assert shipped.names() == [
        "photographs natural",
        "photographs l2 0.5",
        "photographs linf 2/255",
    ]
    model, record = shipped.load(L2, 0)
    expected = shipped.rounded(made(L2, 0)[0]).state_dict()
    found = model.state_dict()
    assert list(found) == list(expected) and not any(m.training for m in model.modules())
    assert all(torch.equal(found[k], v) and found[k].dtype == v.dtype for k, v in expected.items())
    assert record["name"] == "l2_0.5_seed0" and shipped.under(record) == L2
    stored = safetensors.torch.load_file(there[L2, 0])
    assert {v.dtype for v in stored.values()} == {torch.float16, torch.int64}


def test_half_precision_is_to_the_nearest():
    before, after = made(L2, 5)[0], shipped.rounded(made(L2, 5)[0])
    for old, new in zip(before.parameters(), after.parameters(), strict=True):
        assert not torch.equal(old, new) or not old.any() or (old == 1).all()
        # Eleven bits; below 2^-14 they thin out.
        assert ((old - new).abs() <= (old.abs() * 2**-11).clamp(min=2**-25)).all()
    with torch.no_grad():
        before.head.bias[0] = 1e5
    with pytest.raises(ValueError, match=r"head\.bias has weights that half precision does not"):
        shipped.rounded(before)


def test_a_name_means_what_figures_show(folder):
    for name in ("photographs l2 0.5", " Photographs  ℓ2 1/2"):
        assert shipped.parse(name) == L2
    assert shipped.parse("photographs linf 0.00784") == LINF  # to its last digit
    assert shipped.find(Constraint("linf", 0.00784), 0)[0] == LINF
    for name in ("l2 0.5", "photographs", "natural", "microcosm l2 0.5"):
        assert shipped.parse(name) is None
    assert shipped.meant("Photographs ") and not shipped.meant("./photographs")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ((Constraint("l2", 0.1), 0), "under l2 0.1 with seed 0 comes"),
        ((L2, 1), "under l2 0.5 with seed 1 comes"),
        ((UNTRAINED, 0), "under untrained with seed 0 comes"),
    ],
)
def test_what_is_not_there_is_one_line_that_lists_what_is(folder, asked, said):
    with pytest.raises(ValueError, match=said) as caught:
        shipped.load(*asked)
    listed = "those that do are natural (seeds 0, 1); l2 0.5, linf 2/255 (seeds 0)"
    assert str(caught.value).endswith(listed) and "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"under l2 0\.1 comes with the book; those that do"):
        shipped.parse("photographs l2 0.1")
    with pytest.raises(ValueError, match="allowed are natural"):
        shipped.parse("photographs of mine")


def test_where_there_are_none_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "none")
    assert shipped.available() == {} and shipped.names() == []
    with pytest.raises(ValueError, match=r"comes with the book; .*none has none"):
        shipped.load(NATURAL, 0)


def flipped(content):
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize(
    ("suffix", "change", "said"),
    [
        (".safetensors", flipped, "its sha256 is not the one"),
        (".safetensors", lambda content: content[:99], "its sha256 is not the one"),
        (".json", lambda content: content[:99], "JSONDecodeError"),
        (".json", lambda content: b"{}", "KeyError: 'parameters'"),
        (".json", lambda content: b"[1]", "TypeError"),
        (".json", lambda content: content.replace(b"es\": 3", b"es\": 4"), "size mismatch"),
        (".json", lambda content: content.replace(b'"sha256"', b'"sha"'), "sha256"),
    ],
)  # fmt: skip
def test_damage_is_one_line_that_names_the_file(folder, suffix, change, said):
    file = folder / f"natural_seed0{suffix}"
    content = file.read_bytes()
    assert change(content) != content
    file.write_bytes(change(content))
    with pytest.raises(ValueError, match=r"is damaged .*take it anew") as caught:
        shipped.load(NATURAL, 0)
    assert said in str(caught.value) and "natural_seed0" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_record_that_is_not_there_is_named(folder):
    (folder / "natural_seed0.json").unlink()
    with pytest.raises(ValueError, match=r"natural_seed0\.json is damaged \(FileNotFoundError"):
        shipped.available()


# Those that come with the book.

COMMITTED = sorted((files.DATA / "sources").glob("*.safetensors"))
PARTS, BALLS = ("validation", "test"), {"l2 0.1", "l2 0.25", "l2 0.5", "linf 1/255", "linf 2/255"}


def test_they_are_found_from_where_the_code_lies():
    assert Path(shipped.__file__).parents[2] / "data" / "sources" == shipped.FOLDER
    assert list(shipped.available().values()) != [] or not COMMITTED
    assert set(shipped.available().values()) == set(COMMITTED)
    records = {path.with_suffix("") for path in (files.DATA / "sources").glob("*.json")}
    assert records == {path.with_suffix("") for path in COMMITTED}


def test_whoever_changes_how_they_are_loaded_makes_stale_what_starts_from_them(tmp_path):
    book, copy = fingerprint.HERE.parent, tmp_path / "lib"
    shutil.copytree(book / "lib", copy, ignore=shutil.ignore_patterns("__pycache__"))
    started = [*book.glob("chapters/0[2457]_*.ipynb")]
    chapters = {path: notebooks.read(path) for path in started}

    def marks():
        found = {path: fingerprint.notebook(nb, copy) for path, nb in chapters.items()}
        return found, fingerprint.code("training", "zoo.models", folder=copy)

    before, source = marks()
    loader = copy / "zoo" / "shipped.py"
    text, whole = loader.read_text(encoding="utf-8"), "    return model.eval(), about\n"
    assert whole in text and len(started) == 4
    loader.write_text(text.replace(whole, "    return model, about\n"), encoding="utf-8")
    after, still = marks()
    assert all(after[path] != before[path] for path in started) and still == source


def test_they_are_small():
    assert sum(path.stat().st_size for path in (files.DATA / "sources").glob("*")) <= 40e6


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_each_is_what_its_record_says(path):
    record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    constraint, seed = shipped.under(record), record["parameters"]["seed"]
    assert shipped.available()[constraint, seed] == path and path.stem == record["name"]
    model, _ = shipped.load(constraint, seed)  # its sha256 and its shapes, too
    assert model.head.out_features == record["classes"]
    assert all(weight.isfinite().all() for weight in model.state_dict().values())
    wanted = {"learned", "licence", "commit", "code", "versions", "images", "attack"}
    assert wanted <= record.keys() and record["commit"] and "+" not in record["commit"]
    for part in PARTS:
        found = record[part]
        clean, robust = found["clean_accuracy"], found["robust_accuracy"]
        assert set(robust) == BALLS and found["images"] >= found["attacked"] > 0
        for norm in ("l2", "linf"):  # of growing radius; other images are attacked than are clean
            shares = [clean, *(v for ball, v in robust.items() if ball.startswith(norm))]
            assert all(0 <= less <= more + 0.03 for more, less in pairwise(shares))
        assert clean > 10 / record["classes"] or constraint == UNTRAINED
