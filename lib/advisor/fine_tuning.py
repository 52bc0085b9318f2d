"""Going on with one's own images: fine-tune a source as a whole network, and hold it to others."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lib.advisor.copies import stand_ins
from lib.freezing import join
from lib.images import Images
from lib.robustness import logits
from lib.training import BATCH
from lib.tuning import Recipe, freeze_below, outputs, tune


def fine_tune(
    source: nn.Module,
    images: Images,
    *,
    unfrozen_blocks: int = 0,
    seed: int = 0,
    folds: int = 0,
    watch: Callable[..., object] | None = None,
    **recipe,
) -> tuple[nn.Module, Tensor]:
    """Fine-tune a source to labelled images, all of them, and return the network as one.

    source, unfrozen_blocks: as in `lib.transfer.transfer`. seed: of the new head, the batches and
    the folds. folds: parts as in `parts`, each of which is held out of a fine-tuning of its own; 0
    for none. watch: is called after each epoch of each fine-tuning. recipe: as in
    `lib.tuning.Recipe`.

    Returns (network in eval mode, probabilities (N, C) that the image's class is each of them, by a
    network that has not seen the image; NaN where none was held out). Raises ValueError as
    `transfer` does.
    """
    how = Recipe(**recipe)
    above, (below,) = freeze_below(source, unfrozen_blocks, [images])
    classes, everyone = len(images.classes), torch.arange(len(images))
    told = {"evaluate": watch, "evaluate_at": range(1, how.epochs + 1)}

    def tail(members):
        y = images.y[members][None]
        ((tuned, _),) = tune(above, below, members[None], y, classes, how, seeds=[seed], **told)
        return tuned

    probs = torch.full((len(images), classes), torch.nan)
    for train, test in parts(images, folds, seed):
        found = outputs(tail(train), below[test].split(BATCH))
        probs[test] = found.softmax(1).cpu()
    return join(source, unfrozen_blocks, tail(everyone)), probs


def parts(images: Images, folds: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Divide images into folds, each of which is held out once: positions (train, test).

    folds: each with the same share of every class, as far as that goes; no more than the largest
    class has images. An image that is alone in its class always trains. Identical images are held
    out together, as in `lib.advisor.advice.splits`, and count once.

    Returns as many pairs; none for fewer than two folds, or where every class has one image.
    """
    place = stand_ins(images)
    y = images.y
    counts = y[place.unique()].bincount(minlength=len(images.classes))
    folds = min(folds, int(counts.max()))
    if folds < 2:
        return []
    held = torch.zeros(len(y), dtype=torch.int64)  # the fold that tests on an image, from 1; or 0
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    order = order[y[order].argsort(stable=True)]  # the classes one after another: dealt out in turn
    order = order[(counts[y[order]] > 1) & (place[order] == order)]
    held[order] = torch.arange(len(order)) % folds + 1
    held = held[place]
    sides = [(held != fold, held == fold) for fold in range(1, folds + 1)]
    return [(train.nonzero().flatten(), test.nonzero().flatten()) for train, test in sides]


def stated(network: nn.Module, images: Images) -> Tensor:
    """Return the probabilities (N, C), on the CPU, that a network states for images."""
    return logits(network, images.x).softmax(1).cpu()
