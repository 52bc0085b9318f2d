import re

import pytest
import torch
from PIL import Image

from lib import data, decoded, downloads, microcosm, pictures
from lib.data import choose, doubling, load, sample, subset
from lib.images import Images

RED = (200, 30, 30)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """A store of decoded images, and a folder of downloads, of this test alone."""
    root = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(decoded, "CACHE", root / "images")
    monkeypatch.setattr(downloads, "FOLDER", root / "downloads")
    return root


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


def pixels(images):
    return [x.numpy().tobytes() for x in images.x]


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


# The microcosm.


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


# Choosing.


def uneven():
    """Class 0 with 3, class 1 with 9, class 2 with 40 images, mixed."""
    y = torch.tensor([0] * 3 + [1] * 9 + [2] * 40)
    y = y[torch.randperm(52, generator=torch.Generator().manual_seed(0))]
    x = torch.arange(52, dtype=torch.uint8)[:, None, None, None].expand(52, 3, 8, 8)
    return Images(x.contiguous(), y, ("a", "b", "c"))


def test_a_choice_is_balanced_as_far_as_the_classes_reach():
    images = uneven()
    for n, counts in [(3, [1, 1, 1]), (6, [2, 2, 2]), (9, [3, 3, 3]), (52, [3, 9, 40])]:
        assert images.y[choose(images, n, 0)].bincount().tolist() == counts
    assert images.y[choose(images, 15, 0)].bincount().tolist() == [3, 6, 6]
    assert sorted(images.y[choose(images, 16, 0)].bincount().tolist()) == [3, 6, 7]
    assert sorted(choose(images, 52, 3).tolist()) == list(range(52))


def test_a_smaller_choice_lies_within_a_larger_one():
    images = uneven()
    for seed in range(5):
        largest = choose(images, 52, seed).tolist()
        for n in range(3, 52):
            assert choose(images, n, seed).tolist() == largest[:n]
    chosen = [tuple(sorted(choose(images, 6, seed).tolist())) for seed in range(20)]
    assert len(set(chosen)) > 15
    part = subset(images, 6, 4)
    assert torch.equal(part.x[:, 0, 0, 0].long(), choose(images, 6, 4))


def test_a_sample_may_be_smaller_than_the_number_of_classes():
    images = load("digits")
    for n in (10, 25, len(images)):
        assert torch.equal(sample(images, n, 4).x, subset(images, n, 4).x)
    few = sample(images, 4, 4)
    assert len(few.y.unique()) == 4 and few.classes == images.classes
    assert torch.equal(few.x, subset(images, 10, 4).x[:4])
    for n in (0, len(images) + 1):
        with pytest.raises(ValueError, match=f"n is {n}; allowed are 1 to {len(images)}"):
            sample(images, n, 4)


def test_load_chooses_alike():
    whole, part = load("digits"), load("digits", n=40, seed=3)
    assert torch.equal(part.x, whole.x[choose(whole, 40, 3)])
    assert part.y.bincount().tolist() == [4] * 10


@pytest.mark.parametrize("n", [2, 0, -1, 53])
def test_more_than_there_are_or_less_than_one_a_class(n):
    with pytest.raises(ValueError, match=rf"n is {n}; allowed are 3, one .* to 52, all there are"):
        choose(uneven(), n, 0)


def test_doubling():
    images = uneven()
    assert doubling(images) == [6, 12, 24, 48, 52]
    assert doubling(images, 24) == [6, 12, 24]
    assert doubling(images, 25) == [6, 12, 24, 25]
    assert doubling(images, 6) == [6]
    assert doubling(images, 0, 10) == [10, 20, 40, 52]
    assert doubling(images, 40, 5) == [5, 10, 20, 40]
    assert doubling(images, 12, 0, everything=True) == [6, 12, 52]
    assert doubling(images, 0, 0, everything=True) == doubling(images)
    assert doubling(load("digits")) == [20, 40, 80, 160, 320, 640, 1258]
    assert doubling(load("faces")) == [4, 8, 16, 32, 64, 128, 140]
    one_each = Images(images.x[:2], torch.tensor([0, 1]), images.classes)
    assert doubling(one_each) == [2]
    for largest in (5, 53):
        with pytest.raises(ValueError, match=f"largest n is {largest}; allowed are 6 to 52"):
            doubling(images, largest)


# Folders.


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
    x = pictures.read_image(folder / "big cats" / "0.png", size)
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
    x = pictures.read_image(path, 16)
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


def test_an_unknown_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    for name in ("digit", "no/such folder", "file", tmp_path / "nowhere"):
        with pytest.raises(ValueError) as error:
            load(name)
        said = one_line(error)
        assert repr(str(name)) in said and str(tmp_path) in said
        assert f"known sets are {', '.join(data.NAMES)}" in said


def test_the_rule_for_a_parameter(folder):
    data.known("target", "digits")
    data.known("target", str(folder))
    for value in ("digit", "", 3, None):
        with pytest.raises(ValueError, match="known sets are microcosm, digits, faces") as error:
            data.known("target", value)
        assert repr(value) in one_line(error)


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


def test_targets_by_name(tmp_path):
    assert data.targets("all") == list(data.TARGETS)
    assert data.targets("faces") == ["faces"] and data.targets("") == [""]
    assert data.targets("CIFAR10, svhn") == ["CIFAR10", "svhn"]
    (tmp_path / "a, b").mkdir()
    assert data.targets(str(tmp_path / "a, b")) == [str(tmp_path / "a, b")]
    data.known_targets("target", "CIFAR10, svhn")
    data.known_targets("target", "all")
    for wrong in ("CIFAR10, svhm", "", ",", 3):
        with pytest.raises(ValueError, match="known sets are"):
            data.known_targets("target", wrong)


def test_a_smallest_size_that_the_set_cannot_have():
    faces = load("faces")
    for smallest in (1, 141):
        with pytest.raises(ValueError, match=f"the smallest n is {smallest}; allowed are 2, one"):
            doubling(faces, 0, smallest)
    with pytest.raises(ValueError, match="the largest n is 10; allowed are 20 to 140"):
        doubling(faces, 10, 20)
