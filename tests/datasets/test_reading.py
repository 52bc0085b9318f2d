import numpy as np
import pytest
import torch
from PIL import Image

from lib.datasets.reading import read_image

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


def test_a_turned_photograph_is_turned_back(tmp_path):
    pixel = np.zeros((20, 20, 3), np.uint8)
    pixel[:10] = 255  # bright above
    exif = Image.Exif()
    exif[0x0112] = 3  # "rotated by 180°"
    Image.fromarray(pixel).save(tmp_path / "turned.jpg", exif=exif)
    x = read_image(tmp_path / "turned.jpg", 20).float()
    assert x[:, :8].mean() < 20 and x[:, 12:].mean() > 235


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
