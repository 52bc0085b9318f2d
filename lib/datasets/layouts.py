"""What each of torchvision's sets calls its images, its labels and its classes.

Each function takes a data set of torchvision and returns (x, labels, classes): x are the pixels,
uint8 (N, 3, H, W), of the sets that lie in a few large files, and paths as text of the others.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torchvision import datasets
from torchvision.datasets.utils import extract_archive
from torchvision.transforms.functional import pil_to_tensor

Content = tuple[torch.Tensor | Sequence[str], Sequence[int], Sequence]


class EMNIST(datasets.EMNIST):
    """EMNIST, balanced. Its files hold each image mirrored at its diagonal: here it is upright."""

    data: torch.Tensor

    def __init__(self, root: str | Path, **options: bool):
        super().__init__(root, split="balanced", **options)
        self.data = self.data.transpose(1, 2)


class ImageNet(datasets.ImageNet):
    """ImageNet, its archives unpacked only where that is asked for."""

    def __init__(self, root: str | Path, split: str, download: bool):
        unpacked = Path(root, split).is_dir() and Path(root, "meta.bin").is_file()
        if not (unpacked or download):
            raise RuntimeError(f"{split} is not there")
        super().__init__(root, split)


class Omniglot(datasets.Omniglot):
    """Omniglot, unpacked also where its archive was laid by hand."""

    def download(self) -> None:
        """Download what is not there, and unpack it."""
        super().download()
        unpacked = Path(self.root, self._get_target_folder())
        if not unpacked.is_dir():
            extract_archive(f"{unpacked}.zip", self.root)


def class_named(name: str) -> type:
    """Return the class of a set by its name: of this module, or else of torchvision."""
    own = {one.__name__: one for one in (EMNIST, ImageNet, Omniglot)}
    return own.get(name) or getattr(datasets, name)


def packed(part: Any) -> Content:
    """CIFAR, MNIST and the sets of its format, STL10, and SVHN, whose classes are digits."""
    images, labels = zip(*part, strict=True)
    x = torch.stack([pil_to_tensor(image.convert("RGB")) for image in images])
    return x, labels, getattr(part, "classes", range(10))


def listed(part: Any) -> Content:
    """DTD, Flowers102, Food101, and OxfordIIITPet by breed."""
    files = part._images if hasattr(part, "_images") else part._image_files
    # Older versions of torchvision do not name the flowers.
    return [str(file) for file in files], part._labels, getattr(part, "classes", range(1, 103))


def paired(part: Any) -> Content:
    """EuroSAT, and GTSRB, whose classes have numbers, no names."""
    files, labels = zip(*getattr(part, "samples", None) or part._samples, strict=True)
    return files, labels, getattr(part, "classes", range(43))


def imagenet(part: Any) -> Content:
    """ImageNet, each class with all its synonyms, and its WordNet id where these are not enough."""
    files, labels = zip(*part.samples, strict=True)
    names = [", ".join(synonyms) for synonyms in part.classes]
    pairs = zip(names, part.wnids, strict=True)
    # A crane is a bird and a machine.
    return files, labels, [f"{n} ({wnid})" if names.count(n) > 1 else n for n, wnid in pairs]


def caltech(part: Any) -> Content:
    """Caltech101, without its class of background."""
    base, names = Path(part.root, "101_ObjectCategories"), part.categories
    pairs = zip(part.y, part.index, strict=True)
    return [str(base / names[y] / f"image_{i:04d}.jpg") for y, i in pairs], part.y, names


def omniglot(part: Any) -> Content:
    """Omniglot, sorted: torchvision labels the characters in the order of the disk."""
    names, base = sorted(part._characters), Path(part.target_folder)
    label = {name: i for i, name in enumerate(names)}
    found = sorted((part._characters[c], image) for image, c in part._flat_character_images)
    files = [str(base / name / image) for name, image in found]
    return files, [label[name] for name, _ in found], [", ".join(Path(n).parts) for n in names]
