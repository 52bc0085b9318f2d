"""Networks by name: small residual ones for 32 pixels, torchvision's, and any of timm's."""

from importlib import metadata

import torch
from torch import nn

from lib import grouped, imagenet
from lib.networks import Network, Normalise

MEAN, STD = 0.5, 0.25
"""The normalisation of the small networks."""


class Residual(nn.Module):
    """The basic residual block of He et al. (2016): two 3 × 3 convolutions and a shortcut."""

    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        out = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


def _small_resnet(num_classes, width):
    """Build five units for 32 pixels: a stride-2 stem, and blocks of 2, 2, 4 and 4 × width."""
    return _chain(num_classes, width, 2, [(2, 2), (2, 1), (4, 2), (4, 1)])


def _resnet18(num_classes, width):
    """Build the ResNet-18 for 32 pixels: a stride-1 stem, two blocks of 1, 2, 4, 8 × width."""
    stages = [(1, 1), (1, 1), (2, 2), (2, 1), (4, 2), (4, 1), (8, 2), (8, 1)]
    return _chain(num_classes, width, 1, stages)


def _chain(num_classes, width, stem_stride, stages):
    """Chain a stem and residual blocks of (multiple of the width, stride)."""
    convolution = nn.Conv2d(3, width, 3, stem_stride, 1, bias=False)
    blocks, inputs = [nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU())], width
    for multiple, stride in stages:
        blocks.append(Residual(inputs, multiple * width, stride))
        inputs = multiple * width
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Network(Normalise(MEAN, STD), blocks, pool, nn.Linear(inputs, num_classes))


SMALL = {"small_resnet": (_small_resnet, 16), "resnet18": (_resnet18, 64)}


def build(arch, num_classes, *, seed=0, width=None, pretrained=False, image_size=None, **settings):
    """Build a network, with random weights or pretrained ones.

    arch: "small_resnet" (0.17 M parameters) or "resnet18", both for about 32 pixels; one of
    torchvision's as in `lib.imagenet.build`, such as "resnet50"; or any of timm's, whose layer
    groups become the freeze units (timm is optional). The first that knows the name is meant;
    "torchvision:resnet18" and "timm:resnet18" say which. num_classes: at least 2. seed: of the
    random weights, initialised as each library does by default. width: channels of the first
    stage of the small networks, or None for their own (16, 64). pretrained: weights that
    torchvision or timm publish, downloaded once. image_size: pixels that a network of timm with
    a fixed size, such as a ViT, is built for; others take any. settings: further arguments of
    timm's network.

    Returns a network with `blocks` (the freeze units, from input to output), `features(x)` and
    `head`, on the CPU, in training mode; its input are pixels of [0, 1]. Raises ValueError for an
    unknown architecture, fewer than two classes, a width below 1, a setting that the
    architecture does not have, or weights that cannot be had; ImportError where timm is missing.
    """
    library, name = locate(arch)
    if num_classes < 2:
        raise ValueError(f"num_classes is {num_classes}; a classifier needs at least 2")
    if library != "small" and width is not None:
        raise ValueError(
            f"width is {width}, but {arch} has its own; leave it out, or take {' or '.join(SMALL)}"
        )
    if library != "timm" and settings:
        raise ValueError(
            f"{arch} has no setting {next(iter(settings))}; networks of timm have further ones"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if library == "small":
            model = _build_small(name, num_classes, width, pretrained)
        else:
            model = _build_large(library, name, num_classes, pretrained, image_size, settings)
    # Channels last: half as fast again in small convolutions on a CPU, the same numbers.
    return model.to(memory_format=torch.channels_last)


def locate(arch):
    """Tell which library an architecture is of: (small, torchvision or timm, the name there).

    Raises ValueError for a name that none knows, ImportError where timm is missing that may.
    """
    library, colon, name = arch.partition(":")
    if not colon and arch in SMALL:
        return "small", arch
    if not colon and arch in imagenet.CHAINS:
        return "torchvision", arch
    if library == "torchvision" and name in imagenet.CHAINS:
        return library, name
    if library == "timm":
        return library, grouped.find(name)
    known = f"{', '.join(SMALL)}, torchvision: before {', '.join(imagenet.CHAINS)}"
    if colon:
        raise ValueError(f"arch is {arch!r}; known are {known}, and timm: before names of timm")
    try:
        return "timm", grouped.find(arch)
    except (ImportError, ValueError) as error:
        raise ValueError(f"arch is {arch!r}; known are {known}; {error}") from None


def versions(arch):
    """List the library an architecture comes from with its version; nothing for the small ones."""
    library, _ = locate(arch)
    return [] if library == "small" else [f"{library} {metadata.version(library)}"]


def _build_small(name, num_classes, width, pretrained):
    """Build one of the small networks."""
    make, default = SMALL[name]
    width = default if width is None else width
    if width < 1:
        raise ValueError(f"width is {width}; allowed are 1 and more channels")
    if pretrained:
        raise ValueError(
            f"{name} has no pretrained weights; train a source, or take torchvision:resnet18"
        )
    return make(num_classes, width)


def _build_large(library, name, num_classes, pretrained, image_size, settings):
    """Build a network of torchvision or timm; say in one line where its weights cannot be had."""
    try:
        if library == "torchvision":
            return imagenet.build(name, num_classes, pretrained=pretrained)
        size = {} if image_size is None else {"image_size": image_size}
        return grouped.build(name, num_classes, pretrained=pretrained, **size, **settings)
    except ValueError:
        raise
    except Exception as error:  # whatever the libraries and their clients raise without a network
        if not pretrained:
            raise
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(
            f"the pretrained weights of {name} cannot be had ({reason[0]}); with a file of them, "
            "build without pretrained and use lib.checkpoints.load_into"
        ) from None


def choose_device(device="auto"):
    """Return the torch device: "auto" is CUDA where there is one, else the CPU.

    Raises ValueError where `device` is no device, or CUDA is asked for and there is none.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise ValueError(f"device is {device!r}; allowed are auto, cpu, cuda") from None
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is 'cuda', but no CUDA device is available; use cpu or auto")
    return chosen
