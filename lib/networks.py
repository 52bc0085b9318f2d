"""A classifier as a chain of blocks with a linear head, so that it can be frozen block by block."""

import torch
from torch import nn


class Normalise(nn.Module):
    """Centre and scale pixels of [0, 1], by one number or by one for each channel.

    It is the first layer of a network: attacks and their ε live in pixel space [0, 1].
    """

    def __init__(self, mean, std):
        super().__init__()
        # Not in the state dict: they belong to the architecture, and files name them differently.
        self.register_buffer("mean", torch.empty(0), persistent=False)
        self.register_buffer("std", torch.empty(0), persistent=False)
        self.set(mean, std)

    def set(self, mean, std):
        """Use another mean and standard deviation: numbers or tensors of 1 or 3 elements.

        Raises ValueError for others, where a number is not finite or a deviation not above 0.
        """
        mean, std = (
            torch.as_tensor(v, dtype=torch.float32).reshape(1, -1, 1, 1).to(self.mean.device)
            for v in (mean, std)
        )
        sound = mean.isfinite().all() and std.isfinite().all() and (std > 0).all()
        if not (sound and {mean.numel(), std.numel()} <= {1, 3}):
            raise ValueError(
                f"the normaliser has mean {mean.flatten().tolist()} and standard deviation "
                f"{std.flatten().tolist()}; allowed are 1 or 3 finite numbers, the second above 0"
            )
        self.mean, self.std = mean, std

    def forward(self, x):
        """Map pixels (N, 3, H, W) to the range the blocks are fed with."""
        return (x - self.mean) / self.std


class Network(nn.Module):
    """A classifier: normalisation, blocks, pooling, linear head.

    blocks: the freeze units, from input to output. pool: maps the last block's output to (N, d).
    head: the linear layer, (N, d) to (N, C). names: of the weights, from the name in the files of
    the library the network comes from to the name here; empty for a network of our own.
    """

    def __init__(self, normalise, blocks, pool, head, names=()):
        super().__init__()
        self.normalise = normalise
        self.blocks = nn.ModuleList(blocks)
        self.pool = pool
        self.head = head
        self.names = dict(names)

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

    def cut(self, frozen):
        """Cut the chain after the first `frozen` blocks, 0 to all: see `lib.freezing.split`."""
        below, above = list(self.blocks[:frozen]), list(self.blocks[frozen:])
        if not above:
            return nn.Sequential(self.normalise, *below, self.pool), nn.Sequential(self.head)
        return nn.Sequential(self.normalise, *below), nn.Sequential(*above, self.pool, self.head)
