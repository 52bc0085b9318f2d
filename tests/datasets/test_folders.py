import os
import re
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from reading_sets import noise, one_line, pixels

from lib.datasets import labelled, load, reading, survey

RED = (200, 30, 30)


@pytest.fixture(autouse=True)
def cache(empty_downloads):
    """A store of decoded images of this test alone."""
    return empty_downloads


def save(path, color=RED, size=(12, 10), mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, color)
    image = image.quantize() if mode == "P" else image.convert(mode)
    image.save(path, **options)
    return path


def save_all(root, *names):
    for name in names:
        save(root / name)


@pytest.fixture
def folder(tmp_path):
    """Two classes of ten images each, none like another, without a split."""
    root = tmp_path / "my photos é"
    for c, name in enumerate(("big cats", "dögs")):
        for i in range(10):
            save(root / name / f"{i}.png", (20 * i, 100 * c, 7))
    return root


def test_a_folder_without_a_split(folder):
    train, test = load(folder), load(str(folder), "test")
    assert train.classes == test.classes == ("big cats", "dögs")
    assert train.y.bincount().tolist() == [7, 7] and test.y.bincount().tolist() == [3, 3]
    # Together, each image once.
    colours = {tuple(x[:, 9, 9].tolist()) for part in (train, test) for x in part.x}
    assert colours == {(20 * i, 100 * c, 7) for i in range(10) for c in (0, 1)}
    assert not set(pixels(train)) & set(pixels(test))
    for part in (train, test):  # the label is the folder's
        assert torch.equal(part.x[:, 1, 9, 9] // 100, part.y.byte())


def test_a_folder_with_a_split(tmp_path):
    for split, classes, blue in (("train", "abc", 99), ("test", "ab", 199)):
        for c, name in enumerate(classes):
            for i in range(1 + c):
                save(tmp_path / split / name / f"{i}.png", (50 * c, 10 * i, blue))
    train, test = load(tmp_path), load(tmp_path, "test")
    # A class of a single image is enough; a test set need not show every class.
    assert train.classes == test.classes == ("a", "b", "c")
    assert train.y.tolist() == [0, 1, 1, 2, 2, 2] and test.y.tolist() == [0, 1, 1]
    assert torch.equal(test.x[:, 0, 0, 0].long(), 50 * test.y)
    assert sorted(load(tmp_path, n=3).y.tolist()) == [0, 1, 2]


@pytest.mark.parametrize("size", [8, 32])
@pytest.mark.parametrize(
    "given", [(1, 1), (2, 1), (1, 40), (33, 32), (31, 7), (300, 5), (1000, 700)]
)
def test_any_size_is_scaled_and_cropped(folder, given, size):
    save(folder / "big cats" / "0.png", size=given)
    images = load(folder, size=size)
    assert images.x.shape == (14, 3, size, size)
    x = reading.read_image(folder / "big cats" / "0.png", size)
    assert torch.equal(x, torch.tensor(RED, dtype=torch.uint8)[:, None, None].expand_as(x))


GREY = (77, 77, 77)  # what becomes of RED in most kinds of grey is not exactly known


@pytest.mark.parametrize(
    ("mode", "name", "colour"),
    [
        ("RGB", "x.png", RED),
        ("RGB", "x.bmp", RED),
        ("RGB", "x.ppm", RED),
        ("RGB", "x.tiff", RED),
        ("RGB", "x.webp", None),
        ("RGB", "x.JPG", None),
        ("RGB", "X.PNG", RED),
        ("L", "x.png", GREY),
        ("LA", "x.png", GREY),
        ("RGBA", "x.png", RED),
        ("P", "x.png", RED),
        ("P", "x.gif", RED),
        ("CMYK", "x.jpg", None),
        ("CMYK", "x.tif", RED),
        ("1", "x.png", None),
        ("F", "x.tiff", None),
        ("YCbCr", "x.jpeg", None),
    ],
)
def test_any_mode_and_format(folder, mode, name, colour):
    path = save(folder / "big cats" / name, RED if colour is None else colour, mode=mode)
    x = reading.read_image(path, 16)
    assert x.dtype == torch.uint8 and x.shape == (3, 16, 16)
    if colour is not None:
        expected = torch.tensor(colour).view(3, 1, 1).expand_as(x)
        assert (x.int() - expected).abs().max() <= 2
    elif mode not in "1F":
        assert x[0].min() > 150 and x[1].max() < 80
    assert len(load(folder)) + len(load(folder, "test")) == 21


def test_what_is_no_image_is_left_out(folder):
    before = pixels(load(folder))
    (folder / "big cats" / "notes.txt").write_text("cats")
    (folder / "big cats" / ".hidden.png").write_text("no image")
    (folder / "big cats" / ".thumbs").mkdir()
    (folder / "big cats" / ".thumbs" / "0.png").write_text("no image")
    (folder / "big cats" / "folder.png").mkdir()
    (folder / ".cache").mkdir()
    (folder / "readme.png").write_text("beside the classes")
    assert pixels(load(folder)) == before


def test_a_hidden_folder_may_hold_the_whole_set(folder, tmp_path):
    whole = tmp_path / ".data" / "set"
    whole.parent.mkdir()
    folder.rename(whole)
    assert len(load(whole)) == 14


def test_folders_within_a_class_belong_to_it(folder):
    save(folder / "dögs" / "small" / "brown" / "x.png")
    assert len(load(folder)) + len(load(folder, "test")) == 21


def test_classes_of_different_sizes(tmp_path):
    for c, count in enumerate((2, 3, 40)):
        for i in range(count):
            save(tmp_path / "abc"[c] / f"{i}.png", (i, 0, 0))
    assert load(tmp_path).y.bincount().tolist() == [1, 2, 28]
    assert load(tmp_path, "test").y.bincount().tolist() == [1, 1, 12]


def test_a_thousand_classes(tmp_path):
    image = save(tmp_path / "x.png", size=(1, 1)).read_bytes()
    root = tmp_path / "many"
    for c in range(1000):
        for split in ("train", "test"):
            (root / split / f"{c:04}").mkdir(parents=True)
            (root / split / f"{c:04}" / "x.png").write_bytes(image)
    images = load(root, size=8)
    assert torch.equal(images.y, torch.arange(1000))
    (root / "train" / "one too many").mkdir()
    with pytest.raises(ValueError, match=r"has 1001 classes .*; allowed are 2 to 1000") as error:
        load(root)
    assert len(one_line(error)) < 400


def test_a_class_may_be_called_train(tmp_path):
    for name in ("car", "train"):
        for i in range(2):
            save(tmp_path / name / f"{i}.png", (i, 0, 0))
    assert load(tmp_path).classes == ("car", "train")


def test_home_and_the_working_folder(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.chdir(folder.parent)
    assert len(load(f"~/{folder.name}")) == len(load(folder.name)) == 14


# Exact copies, and how a folder is divided.


def sides(root):
    """The contents of the training and of the test images."""
    return [set(pixels(load(root, split))) for split in ("train", "test")]


def test_copies_stay_on_one_side_of_the_split_and_are_told(tmp_path):
    for i in range(20):
        for name in ("cats", "dogs"):
            noise(tmp_path / name / f"{i}.png")
        for k in range(2):
            shutil.copy(tmp_path / "cats" / f"{i}.png", tmp_path / "cats" / f"{i} copy {k}.png")
    train, test = sides(tmp_path)
    assert len(load(tmp_path)) + len(load(tmp_path, "test")) == 80  # all of them are kept
    assert len(train) == len(test) + 16 == 28 and not train & test
    assert load(tmp_path, "test").y.bincount().tolist() == [18, 6]
    (note,) = (note for note in survey(tmp_path).notes if "copies" in note)
    assert note.startswith(
        "40 exact copies of other images; no test image is one of a training image: "
    )
    assert "cats/0 copy 0.png = cats/0 copy 1.png = cats/0.png" in note and note.count(";") == 11


def test_labels_that_contradict_each_other_are_named(tmp_path):
    for i in range(12):
        noise(tmp_path / "cats" / f"{i}.png")
        if i % 2:
            shutil.copy(tmp_path / "cats" / f"{i}.png", tmp_path / "dogs" / f"{i}.png")
        else:
            noise(tmp_path / "dogs" / f"{i}.png")
    train, test = sides(tmp_path)
    assert not train & test and len(load(tmp_path)) + len(load(tmp_path, "test")) == 24
    (note,) = (note for note in survey(tmp_path).notes if "contradict" in note)
    assert note.startswith("6 images in more than one class, so that the labels contradict")
    assert "delete the wrong ones: cats/1.png = dogs/1.png; cats/11.png = dogs/11.png;" in note


def test_a_class_of_copies_alone_is_learnt(tmp_path):
    for i in range(4):
        save(tmp_path / "a" / f"{i}.png")
        noise(tmp_path / "b" / f"{i}.png")
    assert load(tmp_path).y.bincount().tolist() == [4, 3]
    assert load(tmp_path, "test").y.tolist() == [1]


def divided(root, **splits):
    for name, count in splits.items():
        for c in "ab":
            for i in range(count):
                noise(root / name / c / f"{i}.png")
    return root


def test_what_trains_does_not_test(tmp_path):
    divided(tmp_path, Training=6, Valid=4, Testing=5)
    shutil.copy(tmp_path / "Training/a/0.png", tmp_path / "Testing/a/9.png")
    shutil.copy(tmp_path / "Training/a/1.png", tmp_path / "Testing/b/9.png")
    shutil.copy(tmp_path / "Valid/b/1.png", tmp_path / "Testing/b/8.png")
    shutil.copy(tmp_path / "Valid/b/1.png", tmp_path / "Valid/b/8.png")
    learnt, _ = labelled.load(tmp_path)  # what trains and what validates
    train, both, test = (set(pixels(x)) for x in (load(tmp_path), learnt, load(tmp_path, "test")))
    assert (len(train), len(both), len(test)) == (12, 20, 10) and train < both and not both & test
    said = survey(tmp_path)
    assert [*map(sum, said.counts.values())] == [12, 9, 10]
    notes = "\n".join(said.notes)
    assert "4 exact copies of other images; 3 left out of a later split" in notes
    assert "1 image in more than one class" in notes
    assert "Training/a/1.png = Testing/b/9.png" in notes


def test_a_test_of_copies_alone(tmp_path):
    for name in ("train/a/x.png", "train/b/x.png", "test/a/y.png"):
        save(tmp_path / name)
    assert len(load(tmp_path)) == 2
    with pytest.raises(ValueError, match=r"holds no images to test .* copies aside") as error:
        load(tmp_path, "test")
    one_line(error)


@pytest.mark.parametrize("names", [("TRAIN", "Test", "dev"), ("train_set", "testing", "valid")])
def test_splits_in_any_spelling(tmp_path, names):
    divided(tmp_path, **dict(zip(names, (3, 2, 1), strict=True)))
    for split, count in (("train", 6), ("test", 4)):
        assert len(load(tmp_path, split)) == count
    train, test, validation = names
    said = survey(tmp_path)
    assert said.counts == {"train": (3, 3), "validation": (1, 1), "test": (2, 2)}
    assert said.notes == (f"splits: {train}/ trains, {validation}/ validates, {test}/ tests",)


def test_what_validates_tests_where_nothing_else_does(tmp_path):
    divided(tmp_path, train=3, val=2, extra=1)
    assert (len(load(tmp_path)), len(load(tmp_path, "test"))) == (6, 4)
    assert survey(tmp_path).notes == (
        "splits: train/ trains, val/ tests (no folder is called a test)",
        "left out, beside the splits: the images in extra/",
    )


def test_other_splits_of_a_folder(folder):
    with pytest.raises(ValueError, match="split is 'valid'; allowed are train and test") as error:
        load(folder, "valid")
    one_line(error)


# Names, and what is below a class.


def test_class_names_are_text_in_one_line(tmp_path):
    for name in ("a<b", "a\nb", os.fsdecode(b"caf\xe9")):
        for i in range(2):
            noise(tmp_path / name / f"{i}.png")
    names = r"a\nb", "a<b", r"caf\xe9"
    assert load(tmp_path).classes == names
    assert rf"class names with what is no text, escaped: {names[0]}, {names[2]}" in (
        survey(tmp_path).notes
    )
    "".join(survey(tmp_path).lines()).encode()  # can be written anywhere


def test_links_to_folders_are_followed_without_loops(folder, tmp_path):
    noise(tmp_path / "elsewhere" / "deep" / "x.png")
    cats = folder / "big cats"
    (cats / "more").symlink_to(tmp_path / "elsewhere")
    (cats / "again").symlink_to("more")  # the same folder: once
    (cats / "up").symlink_to("..")
    (cats / "root").symlink_to("/")
    (folder / "whole").symlink_to(".")
    (folder / "linked").symlink_to(tmp_path / "elsewhere" / "deep")
    noise(tmp_path / "elsewhere" / "deep" / "y.png")
    said = survey(folder)
    assert said.classes == ("big cats", "dögs", "linked") and said.totals == (12, 10, 2)
    assert sum("leads back" in note for note in said.notes) == 4


@pytest.mark.parametrize("name", ["dögs", "dögs/inner"])
def test_a_folder_that_cannot_be_read_is_named(folder, monkeypatch, name):
    noise(folder / "dögs" / "inner" / "x.png")
    scandir = os.scandir

    def refused(path):
        if Path(path) == folder / name:
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(ValueError, match=r"cannot be read \(Permission denied\)") as error:
        load(folder)
    assert str(folder / name) in one_line(error)


# What is refused.


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")


def empty(root):
    return "set is empty; expected one folder of images for each class"


def only_files(root):
    save(root / "x.png")
    return "set holds 1 image but no class folders; expected one folder of images for each class"


def only_other_files(root):
    touch(root / "scan.heic")
    touch(root / ".DS_Store")
    return "set holds scan.heic but no class folders; expected one folder of images for each class"


def an_archive(root):
    touch(root / "images.ZIP")
    return "set holds the archive images.ZIP; unpack it first"


def one_class(root):
    save(root / "cats" / "x.png")
    return r"set has 1 class \(cats\); allowed are 2 to 1000"


def one_class_with_split(root):
    for split in ("train", "test"):
        save(root / split / "cats" / "x.png")
    return r"train has 1 class \(cats\); allowed are 2 to 1000"


def class_without_images(root):
    save(root / "a" / "x.png")
    save(root / "a" / "y.png")
    touch(root / "b" / "notes.txt")
    return "class folder .*b holds no images"


def class_with_one_image(root):
    save_all(root, "a/x.png", "a/y.png", "b/x.png")
    return "class folder .*b holds 1 image; at least 2 are needed"


def unknown_class_to_test(root):
    save_all(root, "train/a/x.png", "train/b/x.png", "test/a/x.png", "test/c/x.png")
    return "test holds a class 'c' that .*train lacks"


def half_a_split(root):
    for name in ("Training/a/x.png", "Training/b/x.png", "docs/x.txt"):
        save(root / name) if name.endswith("png") else touch(root / name)
    return "has Training/ with class folders, but no test/; expected both"


def the_other_half(root):
    save_all(root, "test/a/x.png", "valid/b/x.png")
    return "has test/ and valid/ with class folders, but no train/; expected both"


def two_of_one_split(root):
    save_all(root, "train/a/x.png", "val/a/x.png", "Validation/a/x.png")
    return "has Validation/ and val/, which are both called a validation split; join them"


def a_split_without_labels(root):
    save_all(root, "train/a/x.png", "train/b/x.png", "test/1.png", "test/2.png")
    return "has test/ with images but no class folders, so .*, as in train/, or elsewhere"


def splits_without_class_folders(root):
    save_all(root, "train/1.png", "train/2.png", "test/1.png", "test/2.png")
    return "has test/ and train/ with images but no class folders"


def a_wrapped_set(root):
    save_all(root, "Dataset/v1/cat/1.png", "Dataset/v1/dog/1.png")
    return r"set has 1 class \(Dataset\); .*; v1/ holds cat, dog: .*, name .*set/Dataset/v1$"


def nothing_that_pillow_opens(root):
    save(root / "a" / "x.png")
    for i in range(20):
        touch(root / "b" / f"{i}.HEIC")
    return r"b holds no images \(but 20 .heic; pip install pillow-heif .*\); fill it, or move it"


def annotations_beside_images(root):
    save(root / "images" / "x.png")
    touch(root / "annotations" / "x.xml")
    return r"class folder .*annotations holds no images \(but 1 .xml\); fill it, or move it"


def truncated(root):
    for i in range(4):
        save(root / "a" / f"{i}.png", (i, 0, 0))
        whole = save(root / "b" / f"{i}.jpg", (i, 0, 0), size=(300, 300)).read_bytes()
        (root / "b" / f"{i}.jpg").write_bytes(whole[:-100])
    return r"cannot be read as an image.* \(image file is truncated"


def text_called_png(root):
    for i in range(4):
        save(root / "a" / f"{i}.png", (i, 0, 0))
        (root / "b").mkdir(exist_ok=True)
        (root / "b" / f"{i}.png").write_text(f"this is no image {i}")
    return r"b/\d.png .*\(it is of no format that is taken\)"


def nothing_in_a_file(root):
    for i in range(4):
        save(root / "a" / f"{i}.png", (i, 0, 0))
        touch(root / "b" / f"{i}.png")
    return r"b/\d.png .*\(it is of no format that is taken\)"


def a_dangling_link(root):
    for i in range(4):
        save(root / "a" / f"{i}.png", (i, 0, 0))
        (root / "b").mkdir(exist_ok=True)
        (root / "b" / f"{i}.png").symlink_to(root / "gone.png")
    return r"b/\d.png .*\(No such file or directory\)"


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(
    "build",
    [
        empty, only_files, only_other_files, an_archive, one_class, one_class_with_split,
        class_without_images, class_with_one_image, unknown_class_to_test, half_a_split,
        the_other_half,
        two_of_one_split, a_split_without_labels, splits_without_class_folders, a_wrapped_set,
        nothing_that_pillow_opens, annotations_beside_images,
        truncated, text_called_png, nothing_in_a_file, a_dangling_link,
    ],
)  # fmt: skip
def test_a_folder_that_is_refused(tmp_path, build, split):
    root = tmp_path / "set"
    root.mkdir()
    said = build(root)
    with pytest.raises(ValueError) as error:
        load(root, split)
    assert re.search(said, one_line(error)), one_line(error)


def test_a_class_without_images_to_train_on(tmp_path):
    for name in ("train/a/x.png", "test/a/x.png", "test/b/x.png"):
        save(tmp_path / name)
    (tmp_path / "train" / "b").mkdir()
    with pytest.raises(ValueError, match=r"class folder .*train/b holds no images") as error:
        load(tmp_path)
    one_line(error)


def test_a_test_folder_without_images(tmp_path):
    for name in ("train/a/x.png", "train/b/x.png"):
        save(tmp_path / name)
    (tmp_path / "test" / "a").mkdir(parents=True)
    with pytest.raises(
        ValueError, match="test holds no images to test of the classes a, b"
    ) as error:
        load(tmp_path, "test")
    one_line(error)
