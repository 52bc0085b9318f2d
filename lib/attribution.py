"""Which training images matter to a fine-tuned network, measured over sources and subsets."""

from typing import NamedTuple

import pandas as pd
import torch
from scipy.stats import spearmanr
from torch.nn.functional import nll_loss

from lib import data, matching, microcosm
from lib.ekfac import tail_influence
from lib.influence import Seen, head_influence, head_influences, self_influence
from lib.retraining import fit_to_optimum, leave_one_out, probabilities
from lib.tails import freeze_below, outputs, tune
from lib.training import BATCH
from lib.transfer import named

TARGETS = (*data.TARGETS, *microcosm.CUES)
"""The targets by name: real images, and drawn ones in which one cue says the class."""
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


def known_or_all(name, value):
    """Check a chapter's parameter: one of TARGETS, a folder, or "all", which stands for TARGETS."""
    if value in (*TARGETS, "all"):
        return
    try:
        data.known(name, value)
    except ValueError as error:
        raise ValueError(f"{error}; here also {', '.join(microcosm.CUES)}, all") from error


def load(name_or_path, n_train, n_test, *, size=32):
    """Load the training and test images of one of TARGETS or of a folder, as a pair of Images.

    n_train: how many training images are drawn, where they are; of other targets all are returned.
    n_test: test images at most. size: pixels of a side.
    """
    if name_or_path in microcosm.CUES:
        seed = 10_000 + 2 * microcosm.CUES.index(name_or_path)
        counts = enumerate((n_train, max(n_test, microcosm.BLOCK)))
        train, test = (microcosm.one_cue(name_or_path, n, seed + i, size=size) for i, n in counts)
    else:
        train, test = data.pair(name_or_path, size=size)
    return train, data.subset(test, min(n_test, len(test)), seed=0)


def tuned(
    source,
    target,
    *,
    n,
    seeds,
    epochs=150,
    unfrozen_blocks=0,
    lr=0.1,
    batch_size=128,
    weight_decay=5e-4,
    flip=0.0,
):
    """Fine-tune a source to subsets of a target, as `lib.transfer.transfer` does, and look inside.

    source, target, unfrozen_blocks, lr, batch_size, weight_decay: as in `transfer`. n, seeds: size
    of the subsets, and a seed of each. epochs: of the
    fine-tuning; 0 then trains the head on to its optimum, after 150 epochs where blocks are
    unfrozen. flip: share of the training labels, 0 to 1, that are replaced by another class.

    Yields a Tuned for each seed, on the CPU. Raises ValueError as `transfer` does.
    """
    _, train, test = named(target)
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
        features = [outputs(tail[:-1], part.split(BATCH)) for part in parts]
        if epochs == 0:
            best = fit_to_optimum(features[0], y[i], classes, weight_decay=weight_decay)
            tail[-1].weight.data.copy_(best[:, :-1])
            tail[-1].bias.data.copy_(best[:, -1])
            probs = [probabilities(part, best) for part in features]
        else:
            probs = [outputs(tail[-1:], [part]).softmax(1) for part in features]
        both = zip(features, probs, (labels[i], test.y), strict=True)
        seen = [Seen(f.cpu(), p.cpu(), t) for f, p, t in both]
        yield Tuned(seeds[i], chosen[i], wrong[i], *seen, tail, parts)


def _beside(source, *sets):
    """Bring several Seen to the device of a source: a Hessian of thousands of features is large."""
    device = next(source.parameters()).device
    return [Seen(*(part.to(device) for part in seen)) for seen in sets]


def mislabel(y, classes, share, seed):
    """Replace a share of labels by another class, each other class as likely.

    y: int64 (N,), of 0 to classes − 1. share: 0 to 1. A share of (classes − 1)/classes leaves
    labels that say nothing. Returns (labels, which are wrong: bool (N,)).
    """
    if not 0 <= share <= 1:
        raise ValueError(f"the share of wrong labels is {share}; allowed are 0 to 1")
    generator = torch.Generator().manual_seed(seed)
    wrong = torch.zeros(len(y), dtype=torch.bool)
    count = max(round(share * len(y)), share > 0)  # none only where none is asked for
    wrong[torch.randperm(len(y), generator=generator)[:count]] = True
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
        found = head_influences(*_beside(source, one.train, one.test), rules)
        for rule, scores in zip(rules, found, strict=True):
            same = matching.same_class(scores.cpu(), one.test.y, one.train.y, ranks)
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

    Returns (rows, predicted, actual): a DataFrame with a row for each rule, subset_seed, damping,
    cutoff, spearman (the rank correlation of predicted and actual changes over the training
    images, mean over the test images) and match (the share of test images whose actually most
    helpful image has their class); the changes predicted by the first rule, and the actual ones,
    (N_test, N).
    """
    (one,) = tuned(source, target, epochs=0, weight_decay=weight_decay, **settings)
    count, classes = one.train.probs.shape
    train, test = _beside(source, one.train, one.test)
    actual = leave_one_out(
        (train.features, train.y),
        (test.features, test.y),
        range(count),
        classes=classes,
        weight_decay=weight_decay,
    ).cpu()
    rows, predicted = [], []
    for rule, scores in zip(rules, head_influences(train, test, rules), strict=True):
        predicted.append(scores.cpu() / count)
        pairs = zip(predicted[-1], actual, strict=True)
        rows.append(
            {
                "subset_seed": one.subset_seed,
                "damping": rule["damping"],
                "cutoff": rule.get("cutoff") or 0.0,
                "spearman": sum(spearmanr(p, a)[0] for p, a in pairs) / len(actual),
                "match": float(matching.same_class(actual, one.test.y, one.train.y, 1).mean()),
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
        (train,) = _beside(source, one.train)
        rankings = {
            "self-influence": self_influence(*train, damping=damping).cpu(),
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


def beyond_the_head(source, target, *, damping, unfrozen_blocks, **settings):
    """Compare the influence through unfrozen blocks with that through the head alone.

    The blocks are fine-tuned in both. damping: of both. The rest: as in `tuned`.

    Returns a DataFrame, a row for each subset: subset_seed, unfrozen_blocks, the match of the most
    influential image through the head (exact) and through the blocks and the head (EK-FAC), and
    the rank correlation of the two, as the mean over the test images.
    """
    rows = []
    for one in tuned(source, target, unfrozen_blocks=unfrozen_blocks, **settings):
        sides = [v for pair in zip(one.below, (one.train.y, one.test.y), strict=True) for v in pair]
        train, test = _beside(source, one.train, one.test)
        scores = {
            "head": head_influence(*train, *test, damping=damping).cpu(),
            "blocks": tail_influence(one.tail, *sides, damping=damping).cpu(),
        }
        same = {
            name: matching.same_class(found, one.test.y, one.train.y, 1).mean()
            for name, found in scores.items()
        }
        pairs = zip(scores["head"], scores["blocks"], strict=True)
        rows.append(
            {
                "subset_seed": one.subset_seed,
                "unfrozen_blocks": unfrozen_blocks,
                "match_head": float(same["head"]),
                "match_blocks": float(same["blocks"]),
                "spearman": sum(spearmanr(a, b)[0] for a, b in pairs) / len(one.test.y),
            }
        )
    return pd.DataFrame(rows)
