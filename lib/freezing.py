"""Freezing a network block by block; splitting it into a frozen trunk and a trained tail."""

import copy

from torch import nn


def freeze(model: nn.Module, unfrozen_blocks: int) -> nn.Module:
    """Leave the head and the last blocks trainable, and freeze the rest, in place.

    unfrozen_blocks: 0 trains the head only, k the last k blocks too, −1 everything. The
    BatchNorm of a frozen block stays in eval mode, whatever mode the model is put in.

    Returns the model. Raises ValueError for other numbers of blocks than the model has.
    """
    frozen = _frozen_blocks(model, unfrozen_blocks)
    for index, block in enumerate(model.blocks):
        block.requires_grad_(index >= frozen)
    model.head.requires_grad_(True)
    return model.train(model.training)


def split(model: nn.Module, unfrozen_blocks: int) -> tuple[nn.Module, nn.Sequential]:
    """Split a network into a trunk and a tail, such that model(x) = tail(trunk(x)).

    The trunk holds what `freeze` freezes: its output for an image never
    changes, so it need run only once an image. Both share the model's
    parameters; the trunk is in eval mode. Between the head alone and
    everything, a network of timm is not cut: the trunk only normalises,
    and the tail runs the frozen blocks too, in eval mode and without
    gradients; its parameters are the unfrozen ones all the same. The
    tail's last module is the head.

    Returns (trunk, tail). Raises ValueError as `freeze` does.
    """
    trunk, tail = model.cut(_frozen_blocks(model, unfrozen_blocks))
    return trunk.eval(), tail


def join(model: nn.Module, unfrozen_blocks: int, tail: nn.Sequential) -> nn.Module:
    """Put a trained tail on the trunk it was trained on: what `split` took apart.

    model: the network that was split, left unchanged. unfrozen_blocks: as it was split. tail: as
    `split` gave it, trained since, with a head of any number of classes.

    Returns a network in eval mode, which shares no memory with either. Raises ValueError as
    `freeze` does.
    """
    joined = copy.deepcopy(model)
    joined.head = copy.deepcopy(tail[-1])
    _, its_tail = split(joined, unfrozen_blocks)
    its_tail.load_state_dict(tail.state_dict())
    return joined.eval()


def _frozen_blocks(model, unfrozen_blocks):
    """Count the frozen blocks."""
    count = len(model.blocks)
    if unfrozen_blocks not in range(-1, count + 1):
        raise ValueError(
            f"unfrozen_blocks is {unfrozen_blocks}; allowed are 0 (head only) to {count}, "
            "the last so many blocks, and -1, everything"
        )
    return 0 if unfrozen_blocks == -1 else count - unfrozen_blocks
