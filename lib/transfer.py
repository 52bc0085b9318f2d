"""Fine-tuning a source network to a target with few labelled images."""

import copy
import time

import pandas as pd
import torch
from torch import nn

from lib import data
from lib.freezing import split
from lib.training import descend, pixels, thirds


def transfer(
    source,
    target,
    *,
    n,
    unfrozen_blocks=0,
    seeds=(0,),
    epochs=150,
    lr=0.1,
    batch_size=128,
    weight_decay=5e-4,
):
    """Fine-tune a source to n images of a target, once for each size and seed.

    The protocol is the paper's (Utrera et al., 2021): a new linear head, all frozen but the last
    blocks, SGD with momentum 0.9, weight decay 5e-4, batches of 128, 150 epochs, the learning
    rate divided by 10 after each third. No epoch is chosen: the test set is read once, at the
    end. The frozen trunk runs once an image, and its output is kept.

    source: Network, left unchanged; its device is used. target: name or folder as in
    `lib.data.load`, or a pair of Images (train, test). n: number of training images, or several.
    unfrozen_blocks: 0 (head only), k (the last k blocks too) or −1 (everything). seeds: each
    chooses a subset of the target (the same for every source), the head's initial weights and
    the batches; one number or several. epochs, lr, batch_size, weight_decay: of the fine-tuning.

    Returns a DataFrame, one row per fine-tuned model: every parameter, the clean_accuracy on the
    test images and the train_accuracy of the last epoch (both 0 to 1), seconds.
    Raises ValueError for an n the target does not hold, and as `split` and `load` do.
    """
    name, train, test = _target(target)
    sizes, seeds = ([v] if isinstance(v, int) else list(v) for v in (n, seeds))
    chosen = {(size, seed): data.choose(train, size, seed) for seed in seeds for size in sizes}
    trunk, _ = split(source, unfrozen_blocks)
    device = next(source.parameters()).device
    below_train, below_test = (
        _outputs(trunk, (pixels(x.to(device)) for x in images.x.split(500)))
        for images in (train, test)
    )
    settings = {"epochs": epochs, "lr": lr, "batch_size": batch_size, "weight_decay": weight_decay}
    rows = []
    for (size, seed), members in chosen.items():
        start = time.perf_counter()
        tail = _new_tail(source, unfrozen_blocks, len(train.classes), seed)
        history = descend(
            tail, below_train[members], train.y[members], seed=seed, schedule=thirds, **settings
        )
        predicted = _outputs(tail, below_test.split(500)).argmax(1).cpu()
        rows.append(
            {
                "target": name,
                "n_train": size,
                "unfrozen_blocks": unfrozen_blocks,
                "subset_seed": seed,
                **settings,
                "clean_accuracy": float((predicted == test.y).double().mean()),
                "train_accuracy": history[-1]["accuracy"],
                "seconds": time.perf_counter() - start,
            }
        )
    return pd.DataFrame(rows)


def _target(target):
    """Return a target's name and its training and test images."""
    if isinstance(target, tuple):
        return ("images", *target)
    return str(target), data.load(target, "train"), data.load(target, "test")


def _new_tail(source, unfrozen_blocks, num_classes, seed):
    """Copy what is trained of the source, with a new head in PyTorch's default initialisation."""
    tail = copy.deepcopy(split(source, unfrozen_blocks)[1]).requires_grad_(True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = nn.Linear(source.head.in_features, num_classes)
    tail[-1] = head.to(source.head.weight.device)
    return tail


@torch.no_grad()
def _outputs(module, batches):
    """Run a module over batches, in the mode it is in."""
    return torch.cat([module(batch) for batch in batches])
