"""Which training images matter to a fine-tuned network, measured over sources and subsets."""

from typing import NamedTuple

import pandas as pd
import torch
from scipy.stats import spearmanr
from torch.nn.functional import nll_loss

from lib import data, matching
from lib.influence import Seen, head_influences, self_influence
from lib.retraining import fit_to_optimum, leave_one_out, probabilities
from lib.transfer import freeze_below, named, outputs, tune

CHECKED = tuple(i / 50 for i in range(51))
"""Shares of the training images at which `mislabelled` counts what is found."""


class Tuned(NamedTuple):
    """One fine-tuned network: its subset of the target, and how its head sees the images.

    members: positions of the training images in the target's. wrong: bool, whether the label was
    replaced by another. tail: what was trained. below: the trunk's outputs (training, test).
    """

    subset_seed: int
    members: torch.Tensor
    wrong: torch.Tensor
    train: Seen
    test: Seen
    tail: torch.nn.Module
    below: tuple


def tuned(
    source,
    target,
    *,
    n,
    seeds,
    n_test=None,
    epochs=150,
    unfrozen_blocks=0,
    lr=0.1,
    batch_size=128,
    weight_decay=5e-4,
    flip=0.0,
):
    """Fine-tune a source to subsets of a target, as `lib.transfer.transfer` does, and look inside.

    source, target, unfrozen_blocks, lr, batch_size, weight_decay: as in `transfer`. n, seeds: size
    of the subsets, and a seed of each. n_test: test images, or None for all. epochs: of the
    fine-tuning; 0 then trains the head on to its optimum, after 150 epochs where blocks are
    unfrozen. flip: share of the training labels, 0 to 1, that are replaced by another class.

    Yields a Tuned for each seed, on the CPU. Raises ValueError as `transfer` does.
    """
    _, train, test = named(target)
    if n_test is not None:
        test = data.subset(test, n_test, seed=0)
    classes = len(train.classes)
    chosen = [data.choose(train, n, seed) for seed in seeds]
    labels, wrong = zip(
        *(mislabel(train.y[m], classes, flip, s) for m, s in zip(chosen, seeds, strict=True)),
        strict=True,
    )
    # Only the chosen images go through the trunk, each once.
    used, places = torch.cat(chosen).unique(return_inverse=True)
    members = places.view(len(seeds), n)
    above, (below, below_test) = freeze_below(source, unfrozen_blocks, [train[used], test])
    settings = {"lr": lr, "batch_size": batch_size, "weight_decay": weight_decay}
    y = torch.stack(labels).to(below.device)
    inputs = (below[m] for m in members)
    tails = tune(above, inputs, y, classes, seeds=seeds, epochs=epochs or 150, **settings)
    for i, (tail, _) in enumerate(tails):
        parts = below[members[i]], below_test
        features = [outputs(tail[:-1], part.split(500)).cpu() for part in parts]
        if epochs == 0:
            best = fit_to_optimum(features[0], labels[i], classes, weight_decay=weight_decay)
            tail[-1].weight.data.copy_(best[:, :-1])
            tail[-1].bias.data.copy_(best[:, -1])
            probs = [probabilities(part, best) for part in features]
        else:
            probs = [outputs(tail[-1].cpu(), [part]).softmax(1) for part in features]
        seen = [Seen(f, p, t) for f, p, t in zip(features, probs, (labels[i], test.y), strict=True)]
        yield Tuned(seeds[i], chosen[i], wrong[i], *seen, tail, parts)


def mislabel(y, classes, share, seed):
    """Replace a share of labels by another class, each other class as likely.

    y: int64 (N,), of 0 to classes − 1. share: 0 to 1. A share of (classes − 1)/classes leaves
    labels that say nothing. Returns (labels, which are wrong: bool (N,)).
    """
    if not 0 <= share <= 1:
        raise ValueError(f"the share of wrong labels is {share}; allowed are 0 to 1")
    generator = torch.Generator().manual_seed(seed)
    wrong = torch.zeros(len(y), dtype=torch.bool)
    wrong[torch.randperm(len(y), generator=generator)[: round(share * len(y))]] = True
    shift = torch.randint(1, classes, y.shape, generator=generator)
    return torch.where(wrong, (y + shift) % classes, y), wrong


def matches(source, target, *, rules, ranks=5, **settings):
    """Measure how often the most influential training images have the test image's class.

    rules: dicts of damping and, where singular values are cut, cutoff. ranks: how many of the most
    influential images, at least 5. The rest: as in `tuned`.

    Returns a DataFrame, a row for each subset and rule: subset_seed, damping, cutoff (0: none),
    match (of the first), three_of_five, by_rank (a list), clean_accuracy. All are shares, 0 to 1.
    """
    rows = []
    for one in tuned(source, target, **settings):
        right = float((one.test.probs.argmax(1) == one.test.y).double().mean())
        found = head_influences(one.train, one.test, rules)
        for rule, scores in zip(rules, found, strict=True):
            same = matching.same_class(scores, one.test.y, one.train.y, ranks)
            rows.append(
                {
                    "subset_seed": one.subset_seed,
                    "damping": rule["damping"],
                    "cutoff": rule.get("cutoff") or 0.0,
                    "match": float(same[:, 0].mean()),
                    "three_of_five": matching.at_least(same, 3, 5),
                    "by_rank": same.mean(0).tolist(),
                    "clean_accuracy": right,
                }
            )
    return pd.DataFrame(rows)


def retrained(source, target, *, rules, weight_decay=5e-4, **settings):
    """Leave out each training image in turn, retrain the head, and compare with what was predicted.

    The head is at its optimum. rules: as in `matches`. The rest: as in `tuned`, with one seed.

    Returns (rows, predicted, actual): of each rule a row with the rank correlation of predicted
    and actual changes, over all pairs and as the mean over the test images, and the share of test
    images whose actually most helpful image has their class; the changes predicted by the first
    rule, and the actual ones, (N_test, N).
    """
    (one,) = tuned(source, target, epochs=0, weight_decay=weight_decay, **settings)
    count, classes = one.train.probs.shape
    actual = leave_one_out(
        (one.train.features, one.train.y),
        (one.test.features, one.test.y),
        range(count),
        classes=classes,
        weight_decay=weight_decay,
    )
    rows, predicted = [], []
    for rule, scores in zip(rules, head_influences(one.train, one.test, rules), strict=True):
        predicted.append(scores / count)
        pairs = zip(predicted[-1], actual, strict=True)
        rows.append(
            {
                "damping": rule["damping"],
                "cutoff": rule.get("cutoff") or 0.0,
                "spearman": spearmanr(predicted[-1].flatten(), actual.flatten())[0],
                "spearman_within": sum(spearmanr(p, a)[0] for p, a in pairs) / len(actual),
                "actual_match": float(
                    matching.same_class(actual, one.test.y, one.train.y, 1).mean()
                ),
            }
        )
    return pd.DataFrame(rows), predicted[0], actual


def mislabelled(source, target, *, damping, flip, **settings):
    """Measure how many wrong labels are found by checking the most suspicious images first.

    Suspicious is an image of large influence on its own loss, or, for comparison, one of large
    loss. damping: of the influence. flip: share of wrong labels. The rest: as in `tuned`.

    Returns a DataFrame, a row for each subset, ranking and share checked: subset_seed, ranking,
    checked, found.
    """
    rows = []
    for one in tuned(source, target, flip=flip, **settings):
        rankings = {
            "self-influence": self_influence(*one.train, damping=damping),
            "loss": nll_loss(one.train.probs.log(), one.train.y, reduction="none"),
        }
        for ranking, suspicion in rankings.items():
            shares = matching.found(suspicion, one.wrong, CHECKED)
            rows += [
                {
                    "subset_seed": one.subset_seed,
                    "ranking": ranking,
                    "checked": checked,
                    "found": share,
                }
                for checked, share in zip(CHECKED, shares, strict=True)
            ]
    return pd.DataFrame(rows)
