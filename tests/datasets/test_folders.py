import re

import pytest
import torch
from PIL import Image
from reading_sets import one_line, pixels

from lib.datasets import load, reading

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
    for split, classes in (("train", "abc"), ("test", "ab")):
        for c, name in enumerate(classes):
            for i in range(1 + c):
                save(tmp_path / split / name / f"{i}.png", (50 * c, 10 * i, 99))
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


# What is refused.


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")


def empty(root):
    return "set is empty; expected one folder of images for each class"


def only_files(root):
    save(root / "x.png")
    return "set is empty; expected one folder of images for each class"


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
    for name in ("a/x.png", "a/y.png", "b/x.png"):
        save(root / name)
    return "class folder .*b holds 1 image; at least 2 are needed"


def unknown_class_to_test(root):
    for name in ("train/a/x.png", "train/b/x.png", "test/a/x.png", "test/c/x.png"):
        save(root / name)
    return "test holds a class 'c' that .*train lacks"


def half_a_split(root):
    for name in ("train/a/x.png", "train/b/x.png", "val/a/x.png", "val/b/x.png"):
        save(root / name)
    return "has train/ with class folders, but no test/; expected both"


def truncated(root):
    for i in range(4):
        save(root / "a" / f"{i}.png")
        whole = save(root / "b" / f"{i}.jpg", size=(300, 300)).read_bytes()
        (root / "b" / f"{i}.jpg").write_bytes(whole[:-100])
    return r"b/\d.jpg cannot be read as an image \(.*truncated"


def text_called_png(root):
    for i in range(4):
        save(root / "a" / f"{i}.png")
        (root / "b").mkdir(exist_ok=True)
        (root / "b" / f"{i}.png").write_text("this is no image")
    return r"b/\d.png cannot be read as an image \("


def nothing_in_a_file(root):
    for i in range(4):
        save(root / "a" / f"{i}.png")
        touch(root / "b" / f"{i}.png")
    return r"b/\d.png cannot be read as an image \("


def a_dangling_link(root):
    for i in range(4):
        save(root / "a" / f"{i}.png")
        (root / "b").mkdir(exist_ok=True)
        (root / "b" / f"{i}.png").symlink_to(root / "gone.png")
    return r"b/\d.png cannot be read as an image \("


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(
    "build",
    [
        empty, only_files, one_class, one_class_with_split, class_without_images,
        class_with_one_image, unknown_class_to_test,
        half_a_split, truncated, text_called_png, nothing_in_a_file, a_dangling_link,
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
    with pytest.raises(ValueError, match="test holds no images of the classes a, b") as error:
        load(tmp_path, "test")
    one_line(error)
