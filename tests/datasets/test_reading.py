import contextlib
import gzip
import io
import math
import os
import resource
import struct
import sys
import tempfile
import tracemalloc
import types
import warnings
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from generated import examples
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps
from reading_sets import noise

from lib.datasets import reading
from lib.datasets.reading import Unreadable, read_image

RED = (200, 30, 30)


def test_the_centre_is_kept(tmp_path):
    # Left third red, middle third green, right third blue.
    wide = np.zeros((20, 60, 3), np.uint8)
    for c in range(3):
        wide[:, 20 * c : 20 * c + 20, c] = 255
    for name, pixel in (("wide.png", wide), ("tall.png", wide.transpose(1, 0, 2))):
        Image.fromarray(pixel).save(tmp_path / name)
        x = read_image(tmp_path / name, 10)
        assert torch.equal(x[1, 2:8, 2:8], torch.full((6, 6), 255, dtype=torch.uint8))
        assert x[0, 2:8, 2:8].max() == x[2, 2:8, 2:8].max() == 0


def test_deep_greys_are_scaled_not_cut_off(tmp_path):
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    expected = np.round(ramp / 65535 * 255)
    Image.fromarray(ramp).save(tmp_path / "16.png")  # mode I;16
    Image.fromarray(ramp.astype(np.int32)).save(tmp_path / "32.tif")  # mode I
    Image.fromarray((ramp / 65535).astype(np.float32)).save(tmp_path / "float.tif")  # mode F
    for name in ("16.png", "32.tif", "float.tif"):
        x = read_image(tmp_path / name, 8)
        assert np.abs(x[0].numpy() - expected).max() <= 1, name
    # By what the mode can hold, not by the brightest pixel of each image.
    Image.fromarray(ramp // 10).save(tmp_path / "dark.png")
    assert read_image(tmp_path / "dark.png", 8).max() == 25
    # Or by a depth that is stated.
    x = read_image(tmp_path / "dark.png", 8, (1000, 4095))
    expected = np.clip((ramp // 10 - 1000.0) / 3095 * 255, 0, 255).round()
    assert np.abs(x[2].numpy() - expected).max() <= 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_pixel_that_is_not_finite_is_named(tmp_path, value):
    x = np.random.default_rng(0).random((9, 9)).astype(np.float32)
    x[4, 5] = value
    Image.fromarray(x).save(tmp_path / "x.tif")
    with pytest.raises(ValueError, match="1 of its pixels are not finite") as error:
        read_image(tmp_path / "x.tif", 8)
    assert str(tmp_path / "x.tif") in str(error.value)


def test_the_same_as_with_pillow_alone(tmp_path, monkeypatch):
    """In five lines: upright, on white, the square in the centre, scaled."""
    noise(tmp_path / "x.png", (301, 200))
    noise(tmp_path / "turned.jpg", (300, 201), exif=exif_block(TURNED))
    monkeypatch.setattr(reading, "BROAD", 250)
    noise(tmp_path / "large.bmp", (300, 260))
    with Image.open(tmp_path / "x.png") as image:
        image.quantize().save(tmp_path / "palette.png", transparency=3)
        image.putalpha(Image.linear_gradient("L").resize(image.size))
        image.save(tmp_path / "clear.png")
    for name in ("x.png", "turned.jpg", "palette.png", "clear.png", "large.bmp"):
        image = ImageOps.exif_transpose(Image.open(tmp_path / name)).convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
        side = min(image.size)
        left, top = ((n - side) // 2 for n in image.size)
        image = image.crop((left, top, left + side, top + side))
        image = image.resize((48, 48), Image.Resampling.BILINEAR)
        expected = torch.from_numpy(np.array(image)).permute(2, 0, 1).int()
        assert (read_image(tmp_path / name, 48).int() - expected).abs().max() <= 1, name


def test_what_is_transparent_is_white(tmp_path):
    clear = Image.new("RGBA", (8, 8), (*RED, 0))
    half = Image.new("RGBA", (8, 8), (*RED, 128))
    grey = Image.new("LA", (8, 8), (40, 0))
    palette = Image.new("P", (8, 8), 3)
    palette.putpalette([10, 20, 30] * 256)
    clear.save(tmp_path / "clear.png")
    half.save(tmp_path / "half.png")
    grey.save(tmp_path / "grey.png")
    palette.save(tmp_path / "palette.png", transparency=3)
    palette.save(tmp_path / "palette.gif", transparency=3)
    for name in ("clear.png", "grey.png", "palette.png", "palette.gif"):
        assert read_image(tmp_path / name, 8).min() == 255, name
    mixed = [round(255 + (c - 255) * 128 / 255) for c in RED]
    found = read_image(tmp_path / "half.png", 8)[:, 0, 0].int()
    assert (found - torch.tensor(mixed)).abs().max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photograph_is_turned_back(tmp_path, orientation):
    pixel = np.zeros((20, 24, 3), np.uint8)
    pixel[:10], pixel[10:, :12] = 255, 120  # bright above, grey at the lower left
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixel).save(tmp_path / "turned.jpg", exif=exif, quality=100)
    with Image.open(tmp_path / "turned.jpg") as image:  # as Pillow does it
        upright = ImageOps.exif_transpose(image).convert("RGB")
    upright.save(tmp_path / "upright.png")
    x = read_image(tmp_path / "turned.jpg", 20)
    assert torch.equal(x, read_image(tmp_path / "upright.png", 20))


def exif_block(*entries):
    """An EXIF block, big-endian, of entries (tag, type, count, value)."""
    body = b"".join(struct.pack(">HHI", *entry[:3]) + entry[3] for entry in entries)
    tiff = b"MM\0*" + struct.pack(">IH", 8, len(entries)) + body + bytes(4)
    return b"Exif\0\0" + tiff + struct.pack(">ii", -1, 0)  # the rational that is pointed to


def entry(tag, kind, count, value):
    return tag, kind, count, value if isinstance(value, bytes) else struct.pack(">I", value)


TURNED = entry(0x0112, 3, 1, struct.pack(">HH", 3, 0))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "entries",
    [
        [TURNED, entry(0x011A, 10, 1, 8 + 2 + 24 + 4)],  # XResolution -1/0, as signed
        [TURNED, entry(0x011A, 5, 1, 8 + 2 + 24 + 4)],  # 4294967295/0
        [TURNED, entry(0x011A, 5, 1, 10**9)],  # it lies beyond the end
        [TURNED, entry(0x010E, 2, 2**31, 8)],  # a text of 2 GB
        [TURNED, entry(0x8769, 4, 1, 8)],  # a block that points to itself
        [TURNED, entry(0x010E, 99, 1, 8)],  # of no type
    ],
)
def test_a_damaged_exif_block_does_not_keep_a_picture_from_being_read(tmp_path, entries):
    pixel = np.zeros((20, 20, 3), np.uint8)
    pixel[:10] = 255
    Image.fromarray(pixel).save(tmp_path / "x.jpg", exif=exif_block(*entries))
    x = read_image(tmp_path / "x.jpg", 20).float()
    assert x[:, :8].mean() < 20 and x[:, 12:].mean() > 235  # the orientation is whole


def test_a_damaged_orientation_leaves_a_picture_as_it_is(tmp_path):
    pixel = np.zeros((20, 20, 3), np.uint8)
    pixel[:10] = 255
    for value in (b"\0\0\0\0", b"\0\x09\0\0", b"\xff\xff\0\0"):
        block = exif_block(entry(0x0112, 3, 1, value))
        Image.fromarray(pixel).save(tmp_path / "x.jpg", exif=block)
        assert read_image(tmp_path / "x.jpg", 20)[:, :8].float().mean() > 235


def test_of_an_animation_the_first_frame(tmp_path):
    frames = [Image.new("RGB", (9, 9), c) for c in (RED, (0, 0, 250))]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    x = read_image(tmp_path / "x.gif", 9)
    assert torch.equal(x[:, 0, 0], torch.tensor(RED, dtype=torch.uint8))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "tif", "webp"])
def test_a_damaged_image_is_read_or_named_but_nothing_else(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    path, rng = tmp_path / f"x.{suffix}", np.random.default_rng(1)
    Image.fromarray(noise).save(path)
    whole, named = path.read_bytes(), 0
    for trial in range(40):
        content = bytearray(whole[: rng.integers(len(whole))] if trial % 2 else whole)
        for place in rng.integers(0, max(1, min(200, len(content))), 4):
            content[place : place + 1] = bytes([rng.integers(256)])
        path.write_bytes(content)
        try:
            assert read_image(path, 8).shape == (3, 8, 8)
        except ValueError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            named += 1
    assert named > 5


# Which files are read at all.


def unreadable(path, size=8):
    """Return why a file cannot be read, in one line that names it."""
    with pytest.raises(Unreadable) as error:
        read_image(path, size)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    reason = error.value.failures[0][1]
    taken = "; taken are JPEG, PNG, WEBP, TIFF, GIF, BMP, PPM, JPEG2000" in str(error.value)
    assert taken == (reason == reading.NO_FORMAT)
    return reason


POSTSCRIPT = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 9 9
%%EndComments
showpage
%%EOF
"""


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.tiff", "x.iim"])
def test_postscript_is_never_run(tmp_path, monkeypatch, name):
    """A stand-in for Ghostscript tells whether it was started."""
    from PIL import EpsImagePlugin

    program = tmp_path / "gs"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path / 'was_run'}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    (tmp_path / name).write_bytes(POSTSCRIPT)
    assert unreadable(tmp_path / name) == reading.NO_FORMAT
    assert not (tmp_path / "was_run").exists()
    with contextlib.suppress(Exception):  # Pillow by itself would have run it
        Image.open(tmp_path / name).load()
    assert (tmp_path / "was_run").exists()


def a_packed_fits():
    """The bytes of a FITS file whose image is packed by gzip."""

    def header(*cards):
        text = "".join(card.ljust(80) for card in [*cards, "END"])
        return text.ljust(math.ceil(len(text) / 2880) * 2880).encode()

    first = header("SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0")
    table = ("BITPIX  = 8", "NAXIS   = 2", "NAXIS1  = 8", "NAXIS2  = 1")
    image = ("ZIMAGE  = T", "ZCMPTYPE= 'GZIP_1  '", "ZBITPIX = 8", "ZNAXIS  = 2")
    size = ("ZNAXIS1 = 9", "ZNAXIS2 = 9")
    return first + header("XTENSION= 'BINTABLE'", *table, *image, *size) + bytes(8) + PACKED


PACKED = gzip.compress(bytes(9 * 9 * 4))


def test_a_packed_fits_file_is_not_unpacked_whatever_its_name(tmp_path):
    (tmp_path / "x.jpg").write_bytes(a_packed_fits())
    with Image.open(tmp_path / "x.jpg") as image:  # Pillow by itself opens it
        assert image.format == "FITS" and image.size == (9, 9)
    assert unreadable(tmp_path / "x.jpg") == reading.NO_FORMAT


def written_as(name):
    """The bytes of a picture in a format, or none where Pillow does not write it by itself."""
    for mode in ("RGB", "L", "P", "1"):
        file = io.BytesIO()  # given a path, SPIDER would claim its suffix
        with contextlib.suppress(Exception):  # not every format holds every mode
            Image.effect_noise((32, 32), 90).convert("RGB").convert(mode).save(file, format=name)
            return file.getvalue()
    return b""


@pytest.mark.filterwarnings("ignore")
def test_formats_that_are_not_taken_are_refused_whatever_the_name(tmp_path):
    others = sorted(set(Image.SAVE) & set(Image.OPEN) - set(reading.formats()))
    contents = {name: content for name in others if (content := written_as(name))}
    assert {"ICO", "TGA", "PCX", "DDS", "SGI"} <= set(contents)
    for name, content in contents.items():
        (tmp_path / "x.png").write_bytes(content)
        assert unreadable(tmp_path / "x.png") == reading.NO_FORMAT, name


def test_the_formats_that_are_taken():
    taken = {"JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "JPEG2000"}
    assert taken <= set(reading.formats()) <= taken | {"AVIF", "HEIF"}
    assert {".jfif", ".jpe", ".jpg", ".tif", ".webp", ".gif", ".ppm", ".jp2"} <= reading.suffixes()
    others = {".eps", ".ps", ".pdf", ".mpg", ".heic", ".ico", ".fits", ".tga", ".txt", ""}
    assert not others & reading.suffixes()


def test_of_many_files_the_formats_are_listed_once():
    error = Unreadable(*[(f"{i}.png", reading.NO_FORMAT) for i in range(12)], ("x.png", "why"))
    assert str(error).count("JPEG2000") == 1 and str(error).count(reading.NO_FORMAT) == 10
    assert "taken are" not in str(Unreadable(("x.png", "why"), ("y.png", "why")))


def test_what_is_no_regular_file(tmp_path):
    os.mkfifo(tmp_path / "x.jpg")
    assert unreadable(tmp_path / "x.jpg") == "it is no regular file"
    (tmp_path / "folder.png").mkdir()
    assert unreadable(tmp_path / "folder.png") == "it is no regular file"
    assert unreadable(tmp_path / "gone.png") == "No such file or directory"
    (tmp_path / "loop.png").symlink_to("loop.png")
    assert "symbolic links" in unreadable(tmp_path / "loop.png")


def test_a_file_that_is_too_large(tmp_path):
    with (tmp_path / "x.jpg").open("wb") as file:
        file.write(b"\xff\xd8\xff")
        file.truncate(10 * 2**30)  # sparse: it takes no room
    assert unreadable(tmp_path / "x.jpg").startswith("it has 10,737,418,240 bytes; allowed are")


@pytest.mark.filterwarnings("ignore")
def test_an_image_of_too_many_pixels(tmp_path):
    header = struct.pack(">IIBBBBB", 13_300, 13_300, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    content = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk
    content += struct.pack(">I", zlib.crc32(chunk)) + struct.pack(">I", 0) + b"IDAT"
    (tmp_path / "x.png").write_bytes(content)
    tracemalloc.start()
    said = unreadable(tmp_path / "x.png", 224)
    assert said.startswith("it has 13,300 × 13,300 pixels; allowed are 67,108,864, so scale")
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


def test_a_long_image_is_cropped_before_it_is_scaled(tmp_path):
    """Scaled first, 65,535 × 2 pixels at 224 would take 22 GB of floats."""
    Image.new("RGB", (65_535, 2), RED).save(tmp_path / "x.png")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    x = read_image(tmp_path / "x.png", 224)
    assert torch.equal(x[:, 0, 0], torch.tensor(RED, dtype=torch.uint8)) and x.shape[-1] == 224
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**17  # 128 MB


def test_a_large_jpeg_is_decoded_at_a_smaller_scale(tmp_path, monkeypatch):
    pixel = np.zeros((1200, 1600, 3), np.uint8)
    pixel[:, :800] = RED
    Image.fromarray(pixel).save(tmp_path / "x.jpg", quality=95)
    whole = read_image(tmp_path / "x.jpg", 16)
    monkeypatch.setattr(reading, "LARGE", 10**6)
    monkeypatch.setattr(reading, "MOST_PIXELS", 10**5)  # of what is decoded
    part = read_image(tmp_path / "x.jpg", 16)
    assert (part.int() - whole.int()).abs().max() <= 4


def test_photographs_of_telephones_where_their_plugin_is_installed(monkeypatch):
    registered = []
    plugin = types.SimpleNamespace(register_heif_opener=lambda: registered.append(True))
    for module in (plugin, None):
        monkeypatch.setitem(sys.modules, "pillow_heif", module)
        reading.formats.cache_clear()
        reading.formats()
    reading.formats.cache_clear()
    assert registered == [True]


def test_a_name_that_any_screen_can_show():
    assert reading.shown(os.fsdecode(b"caf\xe9\n.png")) == r"caf\xe9\n.png"
    assert reading.shown("größe 大.png") == "größe 大.png"
    error = Unreadable((os.fsdecode(b"\xff (1).png"), "why"))
    assert str(error) == r"\xff (1).png cannot be read as an image (why)"


# Generated.

Image.init()
WRITTEN = sorted(
    (suffix, name)
    for suffix, name in Image.registered_extensions().items()
    if name in Image.SAVE and name in reading.formats()
)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("suffix", "name"), WRITTEN)
def test_whatever_pillow_writes_is_read(tmp_path, suffix, name):
    path = tmp_path / f"x{suffix.upper()}"
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))
    for mode in ("RGB", "L", "P", "1", "RGBA"):
        with contextlib.suppress(Exception):  # not every format holds every mode
            picture.convert(mode).save(path, format=name)
            break
    else:
        pytest.skip(f"{name} needs something else to write")
    assert suffix in reading.suffixes() and read_image(path, 16).shape == (3, 16, 16)


CHANGES = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8)


def read_or_named(path, content):
    """Read what the file then holds, or raise nothing but the one line that names it."""
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            assert read_image(path, 8).shape == (3, 8, 8)
        except Unreadable as error:
            assert str(path) in str(error) and "\n" not in str(error)


def a_jpeg_of_exif(block):
    file = io.BytesIO()
    Image.new("RGB", (20, 16), RED).save(file, "JPEG", exif=block)
    return file.getvalue()


def an_exif_block_is_read_or_named(changes, length):
    """Bytes of the block are changed, those of the picture are not: so it is always read."""
    block = bytearray(exif_block(TURNED, entry(0x011A, 5, 1, 38), entry(0x8769, 4, 1, 8)))
    for place, value in changes:
        block[6 + int(place * (len(block) - 6))] = value
    path = Path(tempfile.gettempdir(), f"exif-{os.getpid()}.jpg")
    path.write_bytes(a_jpeg_of_exif(bytes(block[: 6 + length])))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x = read_image(path, 8)
    path.unlink()
    assert (x[:, 4, 4].int() - torch.tensor(RED)).abs().max() < 10


BLOCKS = {"changes": CHANGES, "length": st.integers(0, 100)}
test_corrupted_exif_blocks = examples(40)(given(**BLOCKS)(an_exif_block_is_read_or_named))
test_many_corrupted_exif_blocks = pytest.mark.long(
    examples(4000)(given(**BLOCKS)(an_exif_block_is_read_or_named))
)


@cache
def images_of_all_formats():
    """A small image in each format that Pillow writes."""
    found, picture = [], Image.effect_noise((24, 20), 90)
    for suffix, name in WRITTEN:
        for mode in ("RGB", "L", "RGBA", "P", "I;16", "F", "1"):
            file = io.BytesIO()
            with contextlib.suppress(Exception), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                picture.convert("RGB").convert(mode).save(file, format=name)
                found.append((suffix, file.getvalue()))
    return found


def an_image_is_read_or_named(data):
    suffix, whole = data.draw(st.sampled_from(images_of_all_formats()))
    content = bytearray(
        whole[: data.draw(st.integers(1, len(whole)))] if data.draw(st.booleans()) else whole
    )
    for place, value in data.draw(CHANGES):
        content[int(place * min(len(content), data.draw(st.sampled_from([60, 10**6]))))] = value
    path = Path(tempfile.gettempdir(), f"image-{os.getpid()}{suffix}")
    read_or_named(path, bytes(content))
    path.unlink()


test_corrupted_images = examples(30)(given(st.data())(an_image_is_read_or_named))
test_many_corrupted_images = pytest.mark.long(
    examples(8000)(given(st.data())(an_image_is_read_or_named))
)
