"""A classifier as a chain of blocks with a linear head, so that it can be frozen block by block."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Normalise(nn.Module):
    """Centre and scale pixels of [0, 1], by one number or by one for each channel.

    It is the first layer of a network: attacks and their ε live in pixel space [0, 1].
    """

    def __init__(self, mean: float | Tensor, std: float | Tensor) -> None:
        super().__init__()
        self.mean: Tensor
        # Not in the state dict: they belong to the architecture, and files name them differently.
        self.register_buffer("mean", torch.empty(0), persistent=False)
        self.register_buffer("std", torch.empty(0), persistent=False)
        self.set(mean, std)

    def set(self, mean: float | Tensor, std: float | Tensor) -> None:
        """Use another mean and standard deviation: numbers or tensors of 1 or 3 elements.

        Raises ValueError for others, for a mean that no pixels have, and where a number is not
        finite or a deviation not above 0.
        """
        mean, std = (
            torch.as_tensor(v, dtype=torch.float32).reshape(1, -1, 1, 1).to(self.mean.device)
            for v in (mean, std)
        )
        sound = ((mean >= 0) & (mean <= 1)).all() and std.isfinite().all() and (std > 0).all()
        if not (sound and {mean.numel(), std.numel()} <= {1, 3}):
            raise ValueError(
                f"the normaliser has mean {mean.flatten().tolist()} and standard deviation "
                f"{std.flatten().tolist()}; allowed are 1 or 3 numbers of [0, 1], and above 0"
            )
        self.mean, self.std = mean, std

    def forward(self, x: Tensor) -> Tensor:
        """Map pixels (N, 3, H, W) to the range the blocks are fed with."""
        return (x - self.mean) / self.std


class Network(nn.Module):
    """A classifier: normalisation, blocks, pooling, linear head.

    blocks: the freeze units, from input to output. pool: maps the last block's output to (N, d).
    head: the linear layer, (N, d) to (N, C). names: of the weights, from the name in the files of
    the library the network comes from to the name here; empty for a network of our own.
    """

    def __init__(
        self, normalise: nn.Module, blocks: Iterable[nn.Module], pool: nn.Module, head: nn.Module
    ) -> None:
        super().__init__()
        self.normalise = normalise
        self.blocks = nn.ModuleList(blocks)
        self.pool = pool
        self.head = head
        self.names: dict[str, str] = {}

    def features(self, x: Tensor) -> Tensor:
        """Map pixels (N, 3, H, W) in [0, 1] to the head's input (N, d)."""
        x = self.normalise(x)
        for block in self.blocks:
            x = block(x)
        return self.pool(x)

    def forward(self, x: Tensor) -> Tensor:
        """Map pixels (N, 3, H, W) in [0, 1] to logits (N, C)."""
        return self.head(self.features(x))

    def train(self, mode: bool = True) -> "Network":
        """Set training mode, but leave frozen blocks in eval mode.

        Otherwise the BatchNorm of a frozen block would keep averaging over the new images, and
        the "frozen" features would drift.
        """
        super().train(mode)
        for block in self.blocks:
            if not any(p.requires_grad for p in block.parameters()):
                block.eval()
        return self

    def cut(self, frozen: int) -> tuple[nn.Sequential, nn.Sequential]:
        """Cut the chain after the first `frozen` blocks, 0 to all: see `lib.freezing.split`."""
        below, above = list(self.blocks[:frozen]), list(self.blocks[frozen:])
        if not above:
            return nn.Sequential(self.normalise, *below, self.pool), nn.Sequential(self.head)
        return nn.Sequential(self.normalise, *below), nn.Sequential(*above, self.pool, self.head)


class Residual(nn.Module):
    """The basic residual block of He et al. (2016): two 3 × 3 convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
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

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        out = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


SMALL: dict[str, tuple[int, int, list[tuple[int, int]]]] = {
    "small_resnet": (16, 2, [(2, 2), (2, 1), (4, 2), (4, 1)]),
    "resnet18": (64, 1, [(1, 1), (1, 1), (2, 2), (2, 1), (4, 2), (4, 1), (8, 2), (8, 1)]),
}
"""Networks for about 32 pixels: width and stride of the stem, (widths, stride) of each block."""


def small_network(name: str, num_classes: int, width: int | None = None) -> Network:
    """Build one of the SMALL networks; random weights from torch's generator.

    num_classes: at least 2. width: channels of the stem, of which blocks have a multiple, or None
    for the network's own. Raises ValueError for a width below 1.
    """
    own, stem_stride, stages = SMALL[name]
    width = own if width is None else width
    if width < 1:
        raise ValueError(f"width is {width}; allowed are 1 and more channels")
    convolution = nn.Conv2d(3, width, 3, stem_stride, 1, bias=False)
    blocks: list[nn.Module] = [nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU())]
    inputs = width
    for multiple, stride in stages:
        blocks.append(Residual(inputs, multiple * width, stride))
        inputs = multiple * width
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Network(Normalise(0.5, 0.25), blocks, pool, nn.Linear(inputs, num_classes))


def choose_device(device: str = "auto") -> torch.device:
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
