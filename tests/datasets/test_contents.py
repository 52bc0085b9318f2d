import os
import shutil
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image
from reading_sets import noise

from lib.datasets import contents, load, store, survey
from lib.datasets.walk import File


@pytest.fixture(autouse=True)
def cache(empty_downloads):
    """A store of decoded images of this test alone."""
    return empty_downloads


def look(*paths):
    return contents.look([File.at(str(path)) for path in paths], store.CACHE / "seen.json")


def grey(path, low, high, dtype=np.uint16):
    """Write a grey image that runs from low to high."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ramp = np.linspace(low, high, 64).reshape(8, 8).astype(dtype)
    Image.fromarray(ramp).save(path)
    return path


# Copies.


def test_copies_are_the_same_byte_for_byte(tmp_path):
    files = [noise(tmp_path / f"{i}.bmp") for i in range(5)]  # all of the same size
    content = bytearray(files[0].read_bytes())
    content[-1] ^= 1
    files.append(tmp_path / "near.bmp")
    files[-1].write_bytes(content)
    for name, i in (("1 again.bmp", 1), ("3.png", 3), ("3 again.bmp", 3), ("link.bmp", 1)):
        files.append(tmp_path / name)
        files[-1].symlink_to(files[i]) if name == "link.bmp" else shutil.copy(files[i], files[-1])
    assert look(*files).copies == [[1, 6, 9], [3, 7, 8]]


def test_large_files_that_begin_alike_are_no_copies(tmp_path):
    for name, last in (("a", 0), ("b", 1), ("c", 0)):
        (tmp_path / f"{name}.tif").write_bytes(b"II" + bytes(10_000) + bytes([last]))
    files = [tmp_path / f"{name}.tif" for name in "abc"]
    assert look(*files).copies == [[0, 2]]


def test_files_that_begin_otherwise_are_not_read_to_their_end(tmp_path, monkeypatch):
    for i in range(3):
        (tmp_path / f"{i}.tif").write_bytes(b"II" + bytes([i]) + bytes(10_000))
    monkeypatch.setattr(contents.hashlib, "sha256", lambda content: pytest.fail("it was read"))
    monkeypatch.setattr(contents, "identity", lambda files: "")
    assert look(*sorted(tmp_path.glob("*.tif"))).copies == []


def test_what_cannot_be_read_is_passed_over(tmp_path):
    os.mkfifo(tmp_path / "x.png")
    (tmp_path / "gone.png").symlink_to("nowhere")
    for name in ("1.png", "2.png"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "bad.tif").write_bytes(b"II*\0bad")
    found = look(*(tmp_path / name for name in ("x.png", "gone.png", "1.png", "2.png", "bad.tif")))
    assert (found.copies, found.deep, found.depth) == ([], 0, None)


def test_it_is_looked_at_once_for_as_long_as_nothing_changes(tmp_path, monkeypatch):
    files = [noise(tmp_path / f"{i}.png") for i in range(3)]
    seen, begin = [], contents._begin
    monkeypatch.setattr(contents, "_begin", lambda file: seen.append(file) or begin(file))
    grey(files[2], 0, 4000)
    first = look(*files)
    assert look(*files) == first and len(seen) == 3 and first.depth == (0, 4095)
    shutil.copy(files[0], files[1])
    assert look(*files).copies == [[0, 1]] and len(seen) == 6
    record = store.CACHE / "seen.json"
    record.write_bytes(record.read_bytes()[:-9])  # damaged: looked at anew
    assert look(*files).copies == [[0, 1]] and len(seen) == 9


# Depth.


@pytest.mark.parametrize(
    ("low", "high", "dtype", "depth"),
    [
        (0, 3000, np.uint16, (0, 4095)),
        (100, 200, np.uint16, (0, 255)),
        (0, 1023, np.uint16, (0, 1023)),
        (0, 1024, np.uint16, (0, 4095)),
        (0, 16_000, np.uint16, (0, 16_383)),
        (0, 65_535, np.uint16, (0, 65_535)),
        (0, 1, np.uint16, (0, 1)),
        (0, 100_000, np.int32, (0, 100_000)),
        (-1024, 3071, np.int32, (-1024, 3071)),
        (0, 1, np.float32, (0, 1)),
        (0, 0.5, np.float32, (0, 1)),
        (-0.5, 0.5, np.float32, (-0.5, 0.5)),
        (0, 250, np.float32, (0, 255)),
    ],
)
def test_the_depth_is_what_the_set_holds(tmp_path, low, high, dtype, depth):
    suffix = "png" if dtype is np.uint16 else "tif"
    files = [grey(tmp_path / f"1.{suffix}", low, high, dtype)]
    files.append(grey(tmp_path / f"2.{suffix}", low, (low + high) / 2, dtype))
    found = look(*files, noise(tmp_path / "colour.png"), noise(tmp_path / "x.jpg"))
    assert (found.deep, found.depth) == (2, depth)
    assert found.notes() == [
        f"2 grey images are deeper than 8 bits: in all of them {depth[0]:g} is black and "
        f"{depth[1]:g} white, by the range of the set"
    ]


def test_twelve_bits_in_sixteen_keep_their_greys(tmp_path):
    """By the range of a PNG, 4,095 of 65,535, sixteen greys would be left."""
    for i in range(10):
        for name in "ab":
            grey(tmp_path / name / f"{i}.png", i, 2000 + i)
    grey(tmp_path / "a" / "bright.png", 0, 4000)
    assert survey(tmp_path).depth == (0, 4095)
    for part in (
        load(tmp_path, size=8),
        load(tmp_path, "test", size=8),
        load(tmp_path, n=4, size=8),
    ):
        brightest = part.x.amax((1, 2, 3))
        assert part.x[0].unique().numel() > 50  # the same in every split and choice
        assert set(brightest.tolist()) <= {125, 249}


def test_a_brighter_image_is_noticed_in_all_others(tmp_path):
    for i in range(4):
        for name in "ab":
            grey(tmp_path / name / f"{i}.png", i, 1000)
    before = load(tmp_path, size=8).x
    grey(tmp_path / "a" / "9.png", 0, 60_000)
    after = load(tmp_path, size=8)
    assert before.max() > 240 and after.x[after.y == 1].max() == 4


def test_colour_that_loses_its_depth_is_told(tmp_path):
    x = np.random.default_rng(0).integers(0, 4096, (8, 8, 3), dtype=np.uint16)
    scanlines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in x)
    path = tmp_path / "x.png"
    path.write_bytes(png(8, 8, 16, 2, scanlines))
    tiff = tmp_path / "x.tif"
    tifffile.imwrite(tiff, x, photometric="rgb")
    found = look(path, tiff, noise(tmp_path / "8 bits.png"), noise(tmp_path / "8 bits.tif"))
    assert found.colour == 2 and found.deep == 0
    (note,) = found.notes()
    assert note.startswith("2 colour images have 16 bits a channel, of which the upper 8 are read")


def test_a_pixel_that_is_no_number_is_named_and_decides_no_depth(tmp_path):
    for i in range(3):
        for name in "ab":
            grey(tmp_path / name / f"{i}.tif", 0, 0.9 + i / 100, np.float32)
    x = np.full((8, 8), 0.5, np.float32)
    x[2, 3] = np.nan
    Image.fromarray(x).save(tmp_path / "a" / "1.tif")
    assert survey(tmp_path).depth == (0, 1)
    with pytest.raises(ValueError, match=r"a/1.tif .*1 of its pixels are not finite"):
        load(tmp_path), load(tmp_path, "test")


def png(width, height, bits, kind, scanlines):
    """Write a PNG by hand: Pillow writes none of 16 bits and colour."""

    def chunk(name, content):
        body = name + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(scanlines)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)
