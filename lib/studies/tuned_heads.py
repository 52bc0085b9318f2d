"""Networks fine-tuned to subsets of a target, and how their heads see its images."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lib.images import Images, choose
from lib.softmax_head import Seen
from lib.studies.retraining import fit_to_optimum, probabilities
from lib.training import BATCH
from lib.tuning import Recipe, freeze_below, outputs, tune

Target = tuple[Images, Images]
"""Training and test images."""


class Tuned(NamedTuple):
    """One fine-tuned network: its subset of the target, and how its head sees the images.

    members: positions of the training images in the target's. wrong: bool, whether the label was
    replaced by another. tail: what was trained. below: the trunk's outputs (training, test).
    """

    subset_seed: int
    members: Tensor
    wrong: Tensor
    train: Seen
    test: Seen
    tail: nn.Sequential
    below: tuple[Tensor, Tensor]

    @property
    def clean_accuracy(self) -> float:
        """The share of the test images whose class the head tells, 0 to 1."""
        return float((self.test.probs.argmax(1) == self.test.y).double().mean())


def tuned(
    source: nn.Module,
    target: Target,
    *,
    n: int,
    seeds: Sequence[int],
    epochs: int = 150,
    unfrozen_blocks: int = 0,
    flip: float = 0.0,
    **recipe,
) -> Iterator[Tuned]:
    """Fine-tune a source to subsets of a target, as `lib.transfer.transfer` does, and look inside.

    source, target, unfrozen_blocks: as in `transfer`. n, seeds: size of the subsets, and a seed of
    each. epochs: of the fine-tuning; 0 trains the head on to its optimum, after 150 epochs, which
    matter where blocks are unfrozen. flip: share of the training labels, 0 to 1, that are replaced
    by another class. recipe: the rest of `lib.tuning.Recipe`.

    Yields a Tuned for each seed, how it sees images on the CPU. Raises ValueError as `transfer`
    does.
    """
    train, test = target
    how = Recipe(epochs=epochs or 150, **recipe)
    members = torch.stack([choose(train, n, seed) for seed in seeds])
    drawn = [
        mislabel(train.y[m], len(train.classes), flip, seed)
        for m, seed in zip(members, seeds, strict=True)
    ]
    y = torch.stack([labels for labels, _ in drawn])
    tails = _fine_tune(source, target, members, y, seeds, unfrozen_blocks, how)
    for i, (tail, below) in enumerate(tails):
        decay = how.weight_decay if epochs == 0 else None
        known, asked = _look(tail, below, (y[i], test.y), decay)
        yield Tuned(seeds[i], members[i], drawn[i][1], known, asked, tail, below)


def mislabel(y: Tensor, classes: int, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Replace a share of labels by another class, each other class as likely.

    y: int64 (N,), of 0 to classes − 1. share: 0 to 1. A share of (classes − 1)/classes leaves
    labels that say nothing. Returns (labels, which are wrong: bool (N,)).
    """
    generator = torch.Generator().manual_seed(seed)
    wrong = torch.zeros(len(y), dtype=torch.bool)
    count = max(round(share * len(y)), share > 0)  # none only where none is asked for
    wrong[torch.randperm(len(y), generator=generator)[:count]] = True
    shift = torch.randint(1, classes, y.shape, generator=generator)
    return torch.where(wrong, (y + shift) % classes, y), wrong


def _fine_tune(source, target, members, y, seeds, unfrozen_blocks, recipe):
    """Train a tail on each subset; yield it with the trunk's outputs (training, test).

    members, y: (S, n) positions in the target's training images, and their labels.
    """
    train, test = target
    # Only the chosen images go through the trunk, each once.
    used, places = members.unique(return_inverse=True)
    above, (below, below_test) = freeze_below(source, unfrozen_blocks, [train[used], test])
    tails = tune(above, below, places, y, len(train.classes), recipe, seeds=seeds)
    for chosen, (tail, _) in zip(places, tails, strict=True):
        yield tail, (below[chosen], below_test)


def _look(tail, below, labels, weight_decay):
    """Tell how the head of a tail sees images, (training, test), as Seen on the CPU.

    weight_decay: with which the head is brought to its optimum before; None leaves it as it is.
    """
    head, features = tail[-1], [outputs(tail[:-1], part.split(BATCH)) for part in below]
    if weight_decay is None:
        probs = [outputs(tail[-1:], [part]).softmax(1) for part in features]
    else:
        y = labels[0].to(features[0].device)
        best = fit_to_optimum(features[0], y, head.out_features, weight_decay=weight_decay)
        head.weight.data.copy_(best[:, :-1])
        head.bias.data.copy_(best[:, -1])
        probs = [probabilities(part, best) for part in features]
    both = zip(features, probs, labels, strict=True)
    return [Seen(f.cpu(), p.cpu(), y) for f, p, y in both]


def on_device_of(source: nn.Module, *sets: Seen) -> list[Seen]:
    """Bring several Seen to the device of a source: a Hessian of thousands of features is large."""
    device = next(source.parameters()).device
    return [Seen(*(part.to(device) for part in seen)) for seen in sets]
