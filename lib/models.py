"""Networks as a chain of blocks with a linear head, so that they can be frozen block by block."""

import torch
from torch import nn

# Normalisation sits inside the network: attacks and their ε live in pixel space [0, 1].
MEAN, STD = 0.5, 0.25


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


class Normalise(nn.Module):
    """Centre and scale pixels of [0, 1]."""

    def forward(self, x):
        """Map pixels (N, 3, H, W) to the range the blocks are fed with."""
        return (x - MEAN) / STD


class Network(nn.Module):
    """A classifier: normalisation, blocks, average pooling, linear head.

    blocks: the freeze units, from input to output. head: the linear layer, (N, d) to (N, C).
    """

    def __init__(self, blocks, features, num_classes):
        super().__init__()
        self.normalise = Normalise()
        self.blocks = nn.ModuleList(blocks)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(features, num_classes)

    def features(self, x):
        """Map pixels (N, 3, H, W) in [0, 1] to the head's input (N, d)."""
        x = self.normalise(x)
        for block in self.blocks:
            x = block(x)
        return self.pool(x)

    def forward(self, x):
        """Map pixels (N, 3, H, W) in [0, 1] to logits (N, C)."""
        return self.head(self.features(x))

    def train(self, mode=True):
        """Set training mode, but leave frozen blocks in eval mode.

        Otherwise the BatchNorm of a frozen block would keep averaging over the new images, and
        the "frozen" features would drift.
        """
        super().train(mode)
        for block in self.blocks:
            if not any(p.requires_grad for p in block.parameters()):
                block.eval()
        return self


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
    return Network(blocks, inputs, num_classes)


ARCHITECTURES = {"small_resnet": (_small_resnet, 16), "resnet18": (_resnet18, 64)}


def build(arch, num_classes, *, seed=0, width=None):
    """Build a network with random weights.

    arch: "small_resnet" (0.17 M parameters) or "resnet18", both for about 32 pixels. num_classes:
    at least 2. seed: of the initial weights; PyTorch's default initialisation throughout.
    width: channels of the first stage, or None for the architecture's own (16, 64).

    Returns a Network on the CPU, in training mode. Raises ValueError for an unknown architecture,
    fewer than two classes or a width below 1.
    """
    if arch not in ARCHITECTURES:
        raise ValueError(f"arch is {arch!r}; known are {', '.join(ARCHITECTURES)}")
    if num_classes < 2:
        raise ValueError(f"num_classes is {num_classes}; a classifier needs at least 2")
    make, default = ARCHITECTURES[arch]
    width = default if width is None else width
    if width < 1:
        raise ValueError(f"width is {width}; allowed are 1 and more channels")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # Channels last: half as fast again in small convolutions on a CPU, the same numbers.
        return make(num_classes, width).to(memory_format=torch.channels_last)


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
