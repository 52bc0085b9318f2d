import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from reading_sets import one_line, pixels

from lib import datasets, microcosm
from lib.datasets import bundled, load
from lib.images import choose

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def cache(empty_downloads):
    """A store of decoded images of this test alone."""
    return empty_downloads


# What is drawn.


def test_the_microcosm_by_name():
    train, test = load("microcosm"), load("microcosm", "test")
    assert (len(train), len(test)) == (2500, 1000)
    assert not set(pixels(train)) & set(pixels(test))
    assert train.classes == microcosm.CLASSES
    assert torch.equal(load("microcosm", n=70).x, train.x[:70])
    # Neither split of another seed shares an image with either of this one.
    other = pixels(load("microcosm", n=600, seed=1)) + pixels(load("microcosm", "test", seed=1))
    assert not set(other) & set(pixels(train) + pixels(test))
    assert load("microcosm", n=5, size=48).x.shape == (5, 3, 48, 48)
    with pytest.raises(ValueError, match="n is 0"):
        load("microcosm", n=0)


@pytest.mark.parametrize(
    ("cue", "seeds"), [("shapes", (10_000, 10_001)), ("gratings", (10_002, 10_003))]
)
def test_one_cue_by_name(cue, seeds):
    splits = train, test = load(cue), load(cue, "test")
    assert (len(train), len(test)) == (1000, 500)
    for images, seed in zip(splits, seeds, strict=True):
        expected = microcosm.one_cue(cue, len(images), seed)
        assert torch.equal(images.x, expected.x) and torch.equal(images.y, expected.y)
        assert images.classes == expected.classes and len(set(images.classes)) == 10
        assert images.y.bincount().min() > 30
    fewer = load(cue, n=70, seed=3, size=16)
    assert torch.equal(fewer.x, microcosm.one_cue(cue, 70, seeds[0] + 12, size=16).x)
    with pytest.raises(ValueError, match="n is 0"):
        load(cue, n=0)


def test_no_two_splits_of_what_is_drawn_share_an_image():
    every = [
        load(name, split, seed=seed, n=500)
        for name in ("microcosm", "shapes", "gratings")
        for split in ("train", "test")
        for seed in (0, 1)
    ]
    assert len({x for images in every for x in pixels(images)}) == 500 * len(every)


def test_load_chooses_alike():
    whole, part = load("digits"), load("digits", n=40, seed=3)
    assert torch.equal(part.x, whole.x[choose(whole, 40, 3)])
    assert part.y.bincount().tolist() == [4] * 10


# What is refused.


def test_an_unknown_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    for name in ("digit", "", "no/such folder", "file", tmp_path / "nowhere"):
        with pytest.raises(ValueError) as error:
            load(name)
        said = one_line(error)
        assert repr(str(name)) in said and str(tmp_path) in said
        assert f"known sets are {', '.join(datasets.NAMES)}" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"split": "valid"}, "split is 'valid'; allowed are train and test"),
        ({"size": 4}, "size is 4; allowed are 8 pixels and more"),
        ({"n": 1259}, "n is 1259; allowed are 10, one image a class, to 1258"),
        ({"n": 9}, "n is 9; allowed are 10"),
    ],
)
def test_other_arguments(arguments, said):
    with pytest.raises(ValueError, match=said) as error:
        load("digits", **arguments)
    one_line(error)


def test_what_sources_learn():
    train, test = datasets.learned("faces", 20, size=24)
    assert len(train) == 20 and test.x.shape == (60, 3, 24, 24)
    assert len(datasets.learned("faces")[0]) == 140
    with pytest.raises(ValueError, match=r"^n_source is 141; allowed are 2, .*, or 0$"):
        datasets.learned("faces", 141)
    with pytest.raises(ValueError, match="size is 4"):
        datasets.learned("faces", size=4)


def test_a_file_in_place_of_a_folder(tmp_path):
    for name, said in (("set.ZIP", "it is an archive: unpack it"), ("x.png", "it is a file: name")):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(ValueError, match=said) as error:
            load(tmp_path / name)
        assert name in one_line(error)


# Several at once.


def test_targets_by_name(tmp_path):
    assert datasets.targets("all") == list(datasets.TARGETS)
    assert datasets.targets("faces") == ["faces"] and datasets.targets("") == [""]
    assert datasets.targets("CIFAR10, svhn") == ["CIFAR10", "svhn"]
    (tmp_path / "a, b").mkdir()
    assert datasets.targets(str(tmp_path / "a, b")) == [str(tmp_path / "a, b")]


@pytest.fixture
def photographs(tmp_path, monkeypatch):
    """Folders of two classes, some of one name; each holds images of its own number."""
    monkeypatch.chdir(tmp_path)
    places = ("day1/images", "day2/images", "old/day2/images", "digits", "a, b", "birds")
    for count, place in enumerate(places, start=2):
        for name in ("left", "right"):
            (tmp_path / place / name).mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (9, 9), (20 * i, 9, 9)).save(tmp_path / place / name / f"{i}.png")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("all", ["digits", "faces", "textures"]),
        ("Faces", ["faces"]),
        ("shapes, Gratings,digits", ["shapes", "gratings", "digits"]),
        ("birds", ["birds"]),
        ("day1/images", ["images"]),
        ("day1/images, faces,birds/", ["images", "faces", "birds"]),
        ("day1/images,day2/images", ["day1/images", "day2/images"]),
        ("old/day2/images, day1/images, birds", ["day2/images", "day1/images", "birds"]),
        ("a, b", ["a, b"]),
    ],
)
def test_sets_by_the_name_that_a_figure_shows(photographs, text, names):
    splits = datasets.named(text, size=8)
    assert list(splits) == names
    for target, pair in zip(datasets.targets(text), splits.values(), strict=True):
        for split, images in zip(("train", "test"), pair, strict=True):
            expected = load(target, split, size=8)
            assert torch.equal(images.x, expected.x) and torch.equal(images.y, expected.y)


def test_a_folder_is_never_shown_as_the_set_of_its_name(photographs):
    """What is said of the set would else be said of the folder."""
    (name,) = datasets.named("./digits", size=8)
    assert name == f"{photographs.name}/digits"


def test_a_set_is_told_from_a_folder_of_its_name_first_of_all(photographs):
    for text, notes in (("digits", 1), ("Digits", 0), ("faces", 0), ("./digits", 0)):
        told = [note for note in datasets.survey(text).notes if "for the folder write" in note]
        assert len(told) == notes, text
    said = "this is the set digits; for the folder write ./digits"
    assert datasets.survey("digits").notes == (said,)


def test_remarks_on_sets_are_the_survey_of_folders_and_the_doubts_about_others(photographs):
    said = datasets.remarks("day1/images,day2/images, faces", "digits, day1/images", size=8)
    starts = [line.split(": ")[0] for line in said if "; chance is 50 %" in line]
    assert starts == ["day1/images", "day2/images"]  # once, though one of them is named twice
    assert "day2/images: images of each class: left 3, right 3" in said
    assert "digits: this is the set digits; for the folder write ./digits" in said
    assert len(said) == len(set(said)) and not any(line.startswith("faces") for line in said)
    assert datasets.remarks("faces", "microcosm", size=8) == []


def test_remarks_load_no_set_and_read_a_folder_once(photographs, monkeypatch):
    looked, read = [], datasets.folders.read
    monkeypatch.setattr(
        datasets.folders, "read", lambda root: looked.append(root.name) or read(root)
    )
    monkeypatch.setattr(datasets, "load", None)
    monkeypatch.setattr(datasets.torchvision_sets, "contents", None)
    datasets.remarks("old/day2/images, cifar10, faces, imagenet", "old/day2/images", size=8)
    assert looked == ["images"]


def test_folders_that_end_alike_are_told_apart(photographs):
    root = photographs.name
    splits = datasets.named("day2/images, old/day2/images, day1/images, digits, ./digits", size=8)
    whole = [f"{root}/day2/images", "old/day2/images", "day1/images", "digits", f"{root}/digits"]
    assert list(splits) == whole
    lengths = [len(train) + len(test) for train, test in splits.values()]
    assert lengths == [6, 8, 4, 1797, 10]


@pytest.mark.parametrize("text", ["faces,Faces", "birds, digits, ./birds", "all,all,faces,faces"])
def test_a_set_that_is_named_twice(photographs, text):
    with pytest.raises(ValueError) as error:
        datasets.named(text)
    if text.startswith("all"):
        assert "no data set or folder 'all'" in one_line(error)
    else:
        assert repr(text) in one_line(error) and "twice; name each set once" in one_line(error)


def test_what_is_not_there_among_several(photographs):
    for wrong in ("CIFAR10, svhm", "", ","):
        with pytest.raises(ValueError, match="known sets are"):
            datasets.named(wrong)


def test_all_targets_that_come_with_the_book_are_described():
    assert set(bundled.ABOUT) == {*datasets.TARGETS, *microcosm.CUES}
    references = (ROOT / "references.bib").read_text(encoding="utf-8")
    for name, text in bundled.ABOUT.items():
        assert f"**{name}**" in text
        for keys in re.findall(r"{cite}`(.*?)`", text):
            assert all(f"{{{key}," in references for key in keys.split(","))
