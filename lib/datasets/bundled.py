"""Real images that come inside the libraries the book installs."""

import torch

from lib.images import Images, held_out, scale


def digits(split: str, size: int) -> Images:
    """UCI optical digits (Alpaydin and Kaynak, 1998), 1,797 of 8 × 8 pixels."""
    from sklearn.datasets import load_digits

    raw = load_digits()
    grey = torch.tensor(raw.images / 16 * 255).round().to(torch.uint8)
    y = torch.tensor(raw.target, dtype=torch.int64)
    return _split(_grey(grey, y, tuple(str(c) for c in range(10)), size), split)


def faces(split: str, size: int) -> Images:
    """Faces of LFW (Huang et al., 2007) against other patches, 100 each of 25 × 25 pixels."""
    from skimage.data import lfw_subset

    grey = torch.tensor(lfw_subset() * 255).round().to(torch.uint8)
    y = (torch.arange(len(grey)) >= 100).long()
    return _split(_grey(grey, y, ("face", "no face"), size), split)


def textures(split: str, size: int) -> Images:
    """Patches of 32 × 32 pixels of three photographed surfaces; train above, test below."""
    from skimage import data

    classes = ("brick", "grass", "gravel")
    rows = slice(0, 10) if split == "train" else slice(10, 16)
    patches = [
        torch.tensor(getattr(data, name)()).unfold(0, 32, 32).unfold(1, 32, 32)[rows]
        for name in classes
    ]
    grey = torch.cat([p.reshape(-1, 32, 32) for p in patches])
    y = torch.arange(len(classes)).repeat_interleave(len(grey) // len(classes))
    return _grey(grey, y, classes, size)


SETS = {"digits": digits, "faces": faces, "textures": textures}
"""Each maps (split, size) to Images of uint8 (N, 3, size, size)."""
ABOUT = {
    "digits": "handwritten **digits** {cite}`alpaydin1998`, enlarged from 8 × 8 pixels",
    "faces": "**faces** among other patches of photographs {cite}`huang2007,vanderwalt2014`",
    "textures": "patches of the **textures** of brick, grass and gravel {cite}`vanderwalt2014`",
    "shapes": "drawn **shapes** under a texture that says nothing",
    "gratings": "**gratings** over a drawn shape that says nothing",
}
"""What the targets are that come with the book, these and the drawn ones, in Markdown."""


def _grey(grey, y, classes, size):
    """Make Images of grey pixels, uint8 (N, H, W)."""
    return Images(scale(grey[:, None], size).repeat(1, 3, 1, 1), y, classes)


def _split(images, split):
    """Take one side of a fixed random split, the same share of each class."""
    chosen = held_out(images.y)
    return images[chosen if split == "test" else ~chosen]
