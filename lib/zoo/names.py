"""Architectures by name: the library that has one, and what a name states besides."""

import re
from importlib import metadata
from typing import NamedTuple

from lib.networks import SMALL
from lib.zoo import timm_nets, torchvision_nets

NORMALISATIONS = {
    "imagenet": (torchvision_nets.MEAN, torchvision_nets.STD),
    "half": (0.5, 0.5),
    "none": (0.0, 1.0),
}
"""Mean and standard deviation of pixels of [0, 1], by what a name calls them."""


class Stated(NamedTuple):
    """What a name states: pixels of a side of the images (0: nothing), (mean, std) or None."""

    image_size: int = 0
    normalisation: tuple | None = None


def divide(arch: str) -> tuple[str, Stated]:
    """Divide "vit_tiny_patch16_224@96@imagenet" into the architecture and what is stated of it.

    After each "@" stands the size of the images in pixels; or how they are normalised, one of
    NORMALISATIONS or numbers, as in "0.5/0.25" or "0.49 0.48 0.45/0.25 0.24 0.26". Raises
    ValueError for anything else.
    """
    name, *statements = arch.split("@")
    stated = Stated()
    for text in map(str.strip, statements):
        numbers = re.fullmatch(r"([\d. ]+)/([\d. ]+)", text)
        if re.fullmatch(r"[1-9]\d{0,3}", text):
            stated = stated._replace(image_size=int(text))
        elif text in NORMALISATIONS:
            stated = stated._replace(normalisation=NORMALISATIONS[text])
        elif numbers:
            mean, std = ([float(v) for v in part.split()] for part in numbers.groups())
            stated = stated._replace(normalisation=(mean, std))
        else:
            raise ValueError(
                f"{arch} states {text!r}; allowed after @ are pixels of a side, as 224, and how "
                f"they are normalised: {', '.join(NORMALISATIONS)} or MEAN/STD, as 0.5/0.25"
            )
    return name, stated


def locate(arch: str) -> tuple[str, str]:
    """Tell which library an architecture is of: (small, torchvision or timm; the name there).

    Raises ValueError for a name that none knows, ImportError where timm is missing that may.
    """
    arch, _ = divide(arch)
    library, name = arch.split(":", 1) if ":" in arch else (None, arch)
    if library is None and name in SMALL:
        return "small", name
    if library in (None, "torchvision") and name in torchvision_nets.CHAINS:
        return "torchvision", name
    if library == "timm":
        return "timm", timm_nets.find(name)
    known = f"{', '.join(SMALL)}, torchvision: before {', '.join(torchvision_nets.CHAINS)}"
    if library is not None:
        raise ValueError(f"arch is {arch!r}; known are {known}, and timm: before names of timm")
    try:
        return "timm", timm_nets.find(arch)
    except (ImportError, ValueError) as error:
        raise ValueError(f"arch is {arch!r}; known are {known}; {error}") from None


def versions(arch: str) -> list[str]:
    """List the library an architecture comes from with its version; nothing for the small ones."""
    library, _ = locate(arch)
    return [] if library == "small" else [f"{library} {metadata.version(library)}"]
