"""What each of torchvision's sets calls its images, its labels and its classes.

Each function takes a data set of torchvision and returns (x, labels, classes): x are the pixels,
uint8 (N, 3, H, W), of the sets that lie in a few large files, and paths as text of the others.
"""

from pathlib import Path

import numpy as np
import torch
from torchvision import datasets
from torchvision.datasets.utils import extract_archive


class ImageNet(datasets.ImageNet):
    """ImageNet, its archives unpacked only where that is asked for."""

    def __init__(self, root, split, download):
        unpacked = Path(root, split).is_dir() and Path(root, "meta.bin").is_file()
        if not (unpacked or download):
            raise RuntimeError(f"{split} is not there")
        super().__init__(root, split)


class Omniglot(datasets.Omniglot):
    """Omniglot, unpacked also where its archive was laid by hand."""

    def download(self):
        """Download what is not there, and unpack it."""
        super().download()
        unpacked = Path(self.root, self._get_target_folder())
        if not unpacked.is_dir():
            extract_archive(f"{unpacked}.zip", self.root)


def cifar(part):
    """CIFAR-10 and CIFAR-100."""
    return torch.from_numpy(part.data).permute(0, 3, 1, 2), part.targets, part.classes


def svhn(part):
    """SVHN, whose classes are digits."""
    return torch.from_numpy(part.data), part.labels, range(10)


def mnist(part):
    """MNIST and the sets of its format, grey."""
    return _grey(part.data), part.targets, part.classes


def emnist(part):
    """EMNIST, whose files hold each image mirrored at its diagonal: here it stands upright."""
    return _grey(part.data.transpose(1, 2)), part.targets, part.classes


def stl10(part):
    """STL10, the labelled images."""
    return torch.from_numpy(part.data), part.labels.astype(np.int64), part.classes


def listed(part):
    """DTD and Food101."""
    return _text(part._image_files), part._labels, part.classes


def flowers(part):
    """Flowers102; older versions of torchvision do not name the flowers."""
    return _text(part._image_files), part._labels, getattr(part, "classes", range(1, 103))


def pets(part):
    """OxfordIIITPet, by breed."""
    return _text(part._images), part._labels, part.classes


def gtsrb(part):
    """GTSRB, whose classes have numbers, no names."""
    files, labels = zip(*part._samples, strict=True)
    return files, labels, range(43)


def eurosat(part):
    """EuroSAT."""
    files, labels = zip(*part.samples, strict=True)
    return files, labels, part.classes


def imagenet(part):
    """ImageNet, each class with all its synonyms, and its WordNet id where these are not enough."""
    files, labels = zip(*part.samples, strict=True)
    names = [", ".join(synonyms) for synonyms in part.classes]
    pairs = zip(names, part.wnids, strict=True)
    # A crane is a bird and a machine.
    return files, labels, [f"{n} ({wnid})" if names.count(n) > 1 else n for n, wnid in pairs]


def caltech(part):
    """Caltech101, without its class of background."""
    base, names = Path(part.root, "101_ObjectCategories"), part.categories
    pairs = zip(part.y, part.index, strict=True)
    return [str(base / names[y] / f"image_{i:04d}.jpg") for y, i in pairs], part.y, names


def omniglot(part):
    """Omniglot, sorted: torchvision labels the characters in the order of the disk."""
    names = sorted(part._characters)
    label = {name: i for i, name in enumerate(names)}
    found = sorted(
        (str(Path(part.target_folder, part._characters[c], image)), label[part._characters[c]])
        for image, c in part._flat_character_images
    )
    files, labels = zip(*found, strict=True)
    return files, labels, [", ".join(Path(name).parts) for name in names]


def _grey(x):
    """Repeat grey pixels, uint8 (N, H, W), as three colours."""
    return x[:, None].expand(-1, 3, -1, -1)


def _text(files):
    return [str(file) for file in files]
