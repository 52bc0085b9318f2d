"""Freezing a network block by block; splitting it into a frozen trunk and a trained tail."""

import copy

from torch import nn


def freeze(model, unfrozen_blocks):
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


def split(model, unfrozen_blocks):
    """Split a network into a trunk and a tail, such that model(x) = tail(trunk(x)).

    The trunk holds what `freeze` freezes: its output for an image never
    changes, so it need run only once an image. Both share the model's
    parameters; the trunk is in eval mode.

    Returns (trunk, tail). Raises ValueError as `freeze` does.
    """
    frozen = _frozen_blocks(model, unfrozen_blocks)
    below, above = list(model.blocks[:frozen]), list(model.blocks[frozen:])
    if not above:
        return nn.Sequential(model.normalise, *below, model.pool).eval(), nn.Sequential(model.head)
    trunk = nn.Sequential(model.normalise, *below).eval()
    return trunk, nn.Sequential(*above, model.pool, model.head)


def join(model, tail):
    """Put a trained tail on the trunk it was trained on: what `split` took apart.

    model: the Network that was split, left unchanged. tail: of any number of blocks, with a head
    of any number of classes.

    Returns a Network in eval mode, which shares no memory with either.
    """
    joined, (*above, head) = copy.deepcopy(model), copy.deepcopy(tail)
    blocks = above[:-1]  # without the pooling
    first = len(joined.blocks) - len(blocks)
    for index, block in enumerate(blocks, start=first):
        joined.blocks[index] = block
    joined.head = head
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
