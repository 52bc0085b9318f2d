"""Tails: what is fine-tuned of a network, trained on the outputs of the frozen trunk below it."""

import copy
import math
from functools import partial

import torch
from torch import nn

from lib.attacks import evaluating
from lib.augment import one_view
from lib.freezing import split
from lib.heads import fit_heads
from lib.images import Images
from lib.training import BATCH, descend, pixels, thirds


def freeze_below(source, unfrozen_blocks, sets):
    """Run what stays frozen of a source over sets of images, once an image.

    source, unfrozen_blocks: as in `lib.transfer.transfer`. sets: several, each Images, a pair
    (Images, the positions, int64 (n,), of those to run), or an iterable of batches, uint8
    (B, 3, H, W); pixels are taken batch by batch.

    Returns (tail, outputs): what `lib.freezing.split` leaves above, and for each set the trunk's
    outputs (N, …).
    """
    device = next(source.parameters()).device
    with evaluating(source):  # and back in the modes it came in
        trunk, above = split(source, unfrozen_blocks)
        return above, [
            outputs(trunk, (pixels(x.to(device)) for x in _batches(images))) for images in sets
        ]


def _batches(images):
    """Return the batches of pixels of one of the sets of `freeze_below`."""
    if isinstance(images, Images):
        images = images, torch.arange(len(images))
    if isinstance(images, tuple):
        images, chosen = images
        return (images.x[part] for part in chosen.split(BATCH))
    return images


def fresh_views(source, unfrozen_blocks, train, steps):
    """Return what maps positions of images to the trunk's outputs for new views of them.

    source, unfrozen_blocks: as in `lib.transfer.transfer`. train: Images. steps: of an epoch; each
    epoch has a view of its own, as if so many had been kept. It is for `prepare` of `tune`.
    """
    trunk, _ = split(source, unfrozen_blocks)
    device = next(source.parameters()).device

    @torch.no_grad()
    def prepare(positions, y, step):
        positions = positions.cpu()
        x = one_view(train.x[positions], positions, step // steps)
        with evaluating(source):
            return trunk(pixels(x.to(device)))

    return prepare


def tune(above, below, y, classes, *, seeds, prepare=None, watch=None, **settings):
    """Train copies of a tail with new heads, each on features and labels of its own.

    above: the tail, left unchanged. below: the trunk's outputs, S times (N, …) or of V views
    (V · N, …), taken one by one where they can be. y: int64 (S, N), of 0 to classes − 1. seeds: S
    numbers, of the new heads and the batches. prepare: as in `lib.training.descend`, makes the
    trunk's outputs of what `below` gives; or None. watch: called after each epoch with the tail's
    number, 0 to S − 1, the number of epochs done and the tail, to look and not to touch; or None.
    settings: epochs, lr, batch_size and weight_decay, as in `lib.transfer.transfer`.

    Yields (tail in eval mode, training accuracy of the last epoch), S times.
    """
    tails = [_new_tail(above, classes, seed) for seed in seeds]
    if len(above) == 1 and prepare is None:  # the heads alone: all at once
        heads = [tail[-1] for tail in tails]

        def each_head(epoch, heads):
            for which, head in enumerate(heads):
                watch(which, epoch, nn.Sequential(head))

        heads, fitted = fit_heads(
            heads,
            torch.stack(list(below)),
            y,
            seeds=seeds,
            schedule=thirds,
            watch=watch and each_head,
            **settings,
        )
        yield from zip(map(nn.Sequential, heads), fitted.tolist(), strict=True)
        return
    for which, (tail, inputs, labels, seed) in enumerate(zip(tails, below, y, seeds, strict=True)):
        look = watch and partial(watch, which)
        yield tail, _descend_watched(tail, inputs, labels, look, prepare, seed=seed, **settings)


def _descend_watched(tail, inputs, y, look, prepare, *, batch_size, **settings):
    """Train a tail, look at it after each epoch, and return its last training accuracy."""
    steps = math.ceil(len(y) / batch_size)

    def look_back(batch, labels, step):
        if look and step and step % steps == 0:
            look(step // steps, tail)
        return prepare(batch, labels, step) if prepare else batch

    history = descend(
        tail, inputs, y, batch_size=batch_size, schedule=thirds, prepare=look_back, **settings
    )
    if look:
        look(len(history), tail)
    return history[-1]["accuracy"]


@torch.no_grad()
def outputs(module, batches):
    """Run a module over batches, in the mode it is in."""
    return torch.cat([module(batch) for batch in batches])


def _new_tail(above, num_classes, seed):
    """Copy what is trained of the source, with a new head in PyTorch's default initialisation."""
    tail, old = copy.deepcopy(above).requires_grad_(True), above[-1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tail[-1] = nn.Linear(old.in_features, num_classes).to(old.weight.device)
    return tail
