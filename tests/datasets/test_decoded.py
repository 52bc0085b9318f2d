import json
import os
import pickle
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode

from lib import datasets, training
from lib.attacks import L2
from lib.datasets import decoded, downloads, load, store
from lib.datasets.decoded import Mapped
from lib.datasets.reading import read_image
from lib.images import Images
from lib.robustness import accuracy, robust_accuracy
from lib.training import fit
from lib.transfer import transfer
from lib.zoo import models


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A store of this test alone, and blocks of four images."""
    monkeypatch.setattr(store, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(downloads, "FOLDER", tmp_path / "downloads")
    monkeypatch.setattr(store, "BLOCK", 4)
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path):
    """Two classes of nine images to train, two to test; all of the same number of bytes."""
    noise = np.random.default_rng(0).integers(0, 256, (22, 12, 10, 3), dtype=np.uint8)
    for i, image in enumerate(noise):
        path = tmp_path / "set" / ("train" if i < 18 else "test") / "ab"[i % 2] / f"{i:02}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return tmp_path / "set"


@pytest.fixture
def decoding(monkeypatch):
    """The files that are decoded, as they are."""
    seen = []

    def reading(file, size):
        seen.append(file)
        return read_image(file, size)

    monkeypatch.setattr(decoded, "read_image", reading)
    return seen


def by_hand(folder, size=8):
    """Decode the training images in a plain loop."""
    files = sorted((folder / "train").glob("*/*.bmp"))
    return torch.stack([read_image(file, size) for file in files])


def stored(cache):
    (path,) = cache.glob("*.npy")
    return path


def test_decoded_once_for_each_size_and_split(folder, cache, decoding):
    first = load(folder, size=8)
    assert torch.equal(first.x, by_hand(folder)) and len(decoding) == 18
    assert type(first) is Images and first.x.is_contiguous()
    first.x[0] = 0  # in memory, they are one's own
    assert torch.equal(load(folder, size=8).x, by_hand(folder)) and len(decoding) == 18
    load(folder, "test", size=8)
    assert len(decoding) == 22
    assert torch.equal(load(folder, size=9).x, by_hand(folder, 9)) and len(decoding) == 40
    # What anyone can read: no more than the file and what is said of it.
    assert {p.suffix for p in cache.iterdir()} == {".npy", ".json", ".lock"}
    shapes = sorted(np.load(path).shape for path in cache.glob("*.npy"))
    assert shapes == [(4, 3, 8, 8), (18, 3, 8, 8), (18, 3, 9, 9)]


def test_of_several_that_want_the_same_one_decodes(folder, decoding):
    found = []
    threads = [threading.Thread(target=lambda: found.append(load(folder))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(decoding) == 18 and len(found) == 4
    assert all(torch.equal(images.x, found[0].x) for images in found)


def test_another_place_is_another_set(folder, decoding, tmp_path):
    load(folder)
    folder.rename(tmp_path / "moved")
    load(tmp_path / "moved")
    assert len(decoding) == 36


# What has changed is noticed.


def repaint(path):
    """Change the pixels and nothing else that a listing shows: neither size nor time."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-30:] = bytes(30)
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size and path.stat().st_mtime_ns == before.st_mtime_ns


def replace(path):
    Image.new("RGB", (10, 12), "red").save(path)


def remove(path):
    path.unlink()


def add(path):
    Image.new("RGB", (30, 12), "red").save(path.with_name("99.bmp"))


@pytest.mark.parametrize("change", [repaint, replace, remove, add])
def test_a_changed_folder(folder, cache, change):
    load(folder, size=8)
    change(sorted((folder / "train").glob("*/*.bmp"))[-1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it is not damaged
        images = load(folder, size=8)
    assert torch.equal(images.x, by_hand(folder))
    assert len(images.y) == len(images.x)
    stored(cache)  # in place of the old one


@pytest.mark.parametrize("what", ["code", "libraries"])
def test_another_way_of_decoding(folder, decoding, monkeypatch, what):
    load(folder)
    if what == "code":
        monkeypatch.setattr(store, "code", lambda *_: "other code")
    else:
        monkeypatch.setattr(store.PIL, "__version__", "99")
    load(folder)
    assert len(decoding) == 36


def test_the_code_that_decodes_counts(folder, cache):
    load(folder)
    said = json.loads(stored(cache).with_suffix(".json").read_text().splitlines()[0])
    assert said["code"] == store.fingerprint.code("datasets.reading")
    assert said["asked"] == {"set": str(folder), "split": "train", "size": 32}


# Damage.


def flip(content, place):
    content = bytearray(content)
    content[place] ^= 1
    return bytes(content)


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [
        *[(".npy", lambda c, p=p: flip(c, int(p * (len(c) - 1)))) for p in np.linspace(0, 1, 12)],
        (".npy", lambda c: c[:20] + b"((" * 50 + c[120:]),  # a header that Python cannot parse
        (".npy", lambda c: c.replace(b"18, 3", b"9999")),
        (".npy", lambda c: c[:-1]),
        (".npy", lambda c: c[:100]),
        (".npy", lambda c: b""),
        (".npy", lambda c: c[:-1000] + bytes(1000)),
        *[(".json", lambda c, p=p: flip(c, int(p * (len(c) - 1)))) for p in np.linspace(0, 1, 8)],
        (".json", lambda c: c[:-5]),
        (".json", lambda c: b"[]"),
        (".json", None),
    ],
)
def test_a_damaged_file_is_named_and_made_anew(folder, cache, decoding, suffix, damage):
    whole = load(folder, size=8)
    path = stored(cache).with_suffix(suffix)
    if damage:
        path.write_bytes(damage(path.read_bytes()))
    else:
        path.unlink()
    with pytest.warns(UserWarning, match="is not used but decoded anew") as said:
        again = load(folder, size=8)
    assert len(said) == 1 and str(stored(cache)) in str(said[0].message)
    assert "\n" not in str(said[0].message) and said[0].filename == __file__
    assert torch.equal(again.x, whole.x) and len(decoding) == 36
    load(folder, size=8)
    assert len(decoding) == 36


# A kill in the middle.

KILLED = """
import os, sys, time
from lib.datasets import decoded, store
from pathlib import Path
store.CACHE, store.BLOCK, read, left = Path(sys.argv[2]), 4, decoded.read_image, [10]

def reading(file, size):
    left[0] -= 1
    while left[0] < 0:  # killed in the third block, once the two before it are written
        lines = [line for file in store.CACHE.glob("*.journal") for line in file.open()]
        if len(lines) == 3:
            os._exit(9)
        time.sleep(0.01)
    return read(file, size)

decoded.read_image, store.cpu_count = reading, lambda: 1
from lib.datasets import load
load(sys.argv[1], size=8)
"""


def test_after_a_kill_only_the_rest_is_decoded(folder, cache, decoding):
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder), str(cache)], check=False)
    assert done.returncode == 9 and not list(cache.glob("*.npy"))
    images = load(folder, size=8)
    assert torch.equal(images.x, by_hand(folder))
    assert len(decoding) == 18 - 8  # two blocks of four were finished
    assert {p.suffix for p in cache.iterdir()} == {".npy", ".json", ".lock"}


def test_a_kill_after_the_last_block(folder, cache, monkeypatch, decoding):
    """18 images are no whole number of blocks: nothing may be added to the last one."""
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(store.records, "write", interrupted_at_the_end(store.records.write))
        load(folder, size=8)
    assert len(decoding) == 18 and not list(cache.glob("*.npy"))
    assert torch.equal(load(folder, size=8).x, by_hand(folder)) and len(decoding) == 18
    assert stored(cache).stat().st_size == 128 + 18 * 3 * 8 * 8


def interrupted_at_the_end(write):
    """Write what is noted of the files, but not the record of the pixels."""

    def interrupted(path, record):
        if "crc32" in record:
            raise KeyboardInterrupt
        write(path, record)

    return interrupted


def interrupt(folder, monkeypatch, after=13):
    """Break off at one of the files."""
    left = [after]

    def reading(file, size):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return read_image(file, size)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(decoded, "read_image", reading)
        patch.setattr(os, "cpu_count", lambda: 1)
        load(folder, size=8)


@pytest.mark.parametrize("damage", ["pixels", "journal", "header", "no journal", "other images"])
def test_what_a_kill_left_is_checked(folder, cache, monkeypatch, decoding, damage):
    interrupt(folder, monkeypatch)
    (partial,), (journal,) = cache.glob("*.partial"), cache.glob("*.journal")
    content = bytearray(partial.read_bytes())
    kept = {"pixels": 8, "journal": 8, "header": 12}.get(damage, 0)
    if damage == "pixels":
        content[128 + 4 * 3 * 64 + 7] ^= 1  # of the second block
    elif damage == "header":
        content[12] ^= 1
    elif damage == "journal":
        journal.write_text(journal.read_text()[:-3])
    elif damage == "no journal":
        journal.unlink()
    else:
        remove(sorted((folder / "train").glob("*/*.bmp"))[-1])
    partial.write_bytes(content)
    decoding.clear()
    images = load(folder, size=8)
    assert torch.equal(images.x, by_hand(folder)) and len(decoding) == len(images) - kept


def test_a_bad_image_loses_none_that_are_done(folder, cache, decoding):
    bad = sorted((folder / "train").glob("*/*.bmp"))[5]
    good, before = bad.read_bytes(), bad.stat()
    bad.write_bytes(good[:100])
    with pytest.raises(ValueError, match="cannot be read as an image") as error:
        load(folder, size=8)
    assert str(bad) in str(error.value) and "\n" not in str(error.value)
    assert not list(cache.glob("*.npy")) and len(decoding) == 18
    bad.write_bytes(good)
    os.utime(bad, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert torch.equal(load(folder, size=8).x, by_hand(folder))


def test_all_images_that_cannot_be_read_are_named_up_to_ten(folder, cache):
    def break_(split, count):
        bad = sorted((folder / split).glob("*/*.bmp"))[:count]
        for path in bad:
            path.write_bytes(path.read_bytes()[:100])
        return bad

    bad = break_("train", 2) + break_("test", 1)
    with pytest.raises(ValueError, match="3 files cannot be read as an image: ") as error:
        datasets.pair(folder, size=8)  # both splits at once
    assert all(f"{path} (" in str(error.value) for path in bad) and "\n" not in str(error.value)
    bad = break_("train", 12)
    with pytest.raises(ValueError, match="12 files cannot be read as an image: ") as error:
        load(folder, size=8)
    assert [str(path) in str(error.value) for path in bad] == [True] * 10 + [False] * 2
    assert str(error.value).endswith(", …") and not list(cache.glob("*.npy"))


def test_no_more_is_decoded_than_can_be_written(monkeypatch):
    """On a slow disk, what waits to be written must not fill the memory."""
    monkeypatch.setattr(store, "cpu_count", lambda: 1)
    begun = []

    def block(part):
        begun.append(part.start)
        return torch.arange(399)[part]

    found = store._decoded(block, range(0, 399, 4))
    for i in range(100):
        start, x = next(found)
        assert start == 4 * i and x.tolist() == list(range(4 * i, min(4 * i + 4, 399)))
        assert len(begun) <= i + 4
    assert next(found, None) is None and begun == list(range(0, 400, 4))


def test_a_disk_that_is_too_full(folder, cache, monkeypatch):
    monkeypatch.setattr(store.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 3000}))
    with pytest.raises(
        ValueError, match=r"set takes 0.0 GB more .* has 0.0 GB; make room"
    ) as error:
        load(folder, size=8)
    assert "\n" not in str(error.value) and not list(cache.glob("*.npy"))


def test_a_folder_that_changes_while_it_is_read(folder, monkeypatch):
    def reading(file, size):
        if file.endswith("00.bmp"):
            repaint(folder / "train" / "a" / "00.bmp")
        return read_image(file, size)

    monkeypatch.setattr(decoded, "read_image", reading)
    with pytest.raises(ValueError, match="has changed while it was read; load it again"):
        load(folder, size=8)


def test_progress_where_there_is_more_than_a_block(folder, monkeypatch):
    said = []

    def progress(results, total, label):
        said.append((total, label))
        return results

    monkeypatch.setattr(store, "progress", progress)
    load(folder, size=8)
    load(folder, size=8)
    load(folder, "test", size=8)
    assert said == [(5, "set, blocks of 4 images decoded")]


# What is streamed.


@pytest.fixture
def mapped(folder, monkeypatch):
    """Training and test images that are taken to be too many for the memory."""
    monkeypatch.setattr(store, "IN_MEMORY", 0)
    return load(folder, size=8), load(folder, "test", size=8)


def test_a_large_set_stays_in_its_file(folder, cache, mapped):
    train, _ = mapped
    assert type(train) is Mapped and train.file.parent == cache
    assert torch.equal(train.x, by_hand(folder))
    # The very bytes of the file: what is written there is seen here.
    with train.file.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(bytes([int(train.x[-1, -1, -1, -1]) ^ 255]))
    assert not torch.equal(train.x, by_hand(folder))
    assert type(train[:5]) is Images


def test_another_process_is_told_the_file_not_sent_the_pixels(folder, mapped, cache):
    train, _ = mapped
    content = pickle.dumps(train)
    assert len(content) < 1500 < train.x.nbytes
    again = pickle.loads(content)
    assert type(again) is Mapped and torch.equal(again.x, train.x)
    assert torch.equal(again.y, train.y) and again.classes == train.classes


class Watch(TorchDispatchMode):
    """Fail where anything as large as the set is made of it: copied, converted or moved."""

    def __init__(self, images):
        super().__init__()
        self.place, self.count = images.x.untyped_storage().data_ptr(), len(images)
        self.numbers, self.calls = images.x.numel(), 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.calls += 1
        for x in result if isinstance(result, tuple | list) else [result]:
            if isinstance(x, torch.Tensor) and x.ndim > 1 and len(x) >= self.count:
                same = x.untyped_storage().data_ptr() == self.place
                assert same or x.numel() < self.numbers, function
        return result


def test_nothing_takes_the_whole_set_at_once(mapped):
    train, test = mapped
    model = models.build("small_resnet", 2, width=4)
    with Watch(train) as watch:
        fit(model, train, epochs=1, batch_size=5)
        fit(model, train, epochs=1, batch_size=5, ball=L2(0.1), attack_steps=1)
        accuracy(model, train, batch_size=5)
        robust_accuracy(model, train, L2(0.1), steps=1, batch_size=5)
        for unfrozen_blocks in (0, 1):
            transfer(
                model, (train, test), n=[2, 4], seeds=(0, 1), epochs=1,
                unfrozen_blocks=unfrozen_blocks,
            )  # fmt: skip
    assert watch.calls > 500
    with pytest.raises(AssertionError), Watch(train):  # it would be seen
        training.pixels(train.x)


def test_batches_alone_are_moved_to_a_device(mapped, monkeypatch):
    train, _ = mapped
    moved, move = [], torch.Tensor.to

    def to(x, *args, **options):
        if x.dtype == torch.uint8:
            moved.append(len(x))
        return move(x, *args, **options)

    monkeypatch.setattr(torch.Tensor, "to", to)
    settings = {"epochs": 1, "batch_size": 5}
    weights = []
    for resident in (0, training.RESIDENT):
        monkeypatch.setattr(training, "RESIDENT", resident)
        moved.clear()
        model = models.build("small_resnet", 2, width=4)
        fit(model, train, **settings)
        assert (len(train) in moved) == (resident > 0)
        weights.append(torch.cat([p.flatten() for p in model.parameters()]))
    assert torch.equal(*weights)
