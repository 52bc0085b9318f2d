"""A picture of any size and mode, as pixels of one square size."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torchvision.transforms.v2.functional import center_crop, resize


def read_image(file: str | Path, size: int) -> torch.Tensor:
    """Read one image of any size and mode as uint8 (3, size, size).

    The shorter side is scaled to size, and the centre is kept; what is transparent becomes white.
    Raises ValueError naming the file where it cannot be read.
    """
    try:
        with Image.open(file) as image:
            image = ImageOps.exif_transpose(image)
            image = _to_rgb(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{file} cannot be read as an image ({error})") from None
    return fit(torch.from_numpy(np.array(image)).permute(2, 0, 1), size)


def fit(x: torch.Tensor, size: int) -> torch.Tensor:
    """Scale the shorter side of uint8 images (…, 3, H, W) to size, and keep the centre."""
    return center_crop(resize(x, [size], antialias=True), [size, size])


def _to_rgb(image):
    """Bring any mode to RGB: deep greys scaled to 8 bits, transparency on white."""
    if image.mode.startswith("I") or image.mode == "F":
        deep = np.asarray(image, dtype=np.float64)
        top = 65535 if image.mode.startswith("I") else 1.0
        image = Image.fromarray((255 * (deep / max(top, deep.max())).clip(0, 1)).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image)
    return image.convert("RGB")
