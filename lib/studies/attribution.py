"""Which training images matter to a fine-tuned network, measured over sources and subsets."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pandas as pd
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn.functional import nll_loss

from lib.images import Images, choose
from lib.influence import head_influence, head_influences, self_influence
from lib.softmax_head import Seen
from lib.studies import matching
from lib.studies.ekfac import tail_influence
from lib.studies.retraining import fit_to_optimum, leave_one_out, probabilities
from lib.training import BATCH
from lib.tuning import Recipe, freeze_below, outputs, tune

Target = tuple[Images, Images]
"""Training and test images."""
DAMPINGS = (5e-5, 5e-4, 5e-3, 5e-2, 0.5)
CUTOFFS = (5e-4, 5e-3, 5e-2, 0.2)
CHECKED = tuple(i / 50 for i in range(51))
"""Shares of the training images at which `mislabelled` counts what is found."""


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
    and `mislabel` do.
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


class Example(NamedTuple):
    """One fine-tuned network to look at, all of it on the CPU.

    members, train, test: as in Tuned. scores: (N_test, n) influence of the training images on the
    test images; among: (n, n) on one another.
    """

    members: Tensor
    train: Seen
    test: Seen
    scores: Tensor
    among: Tensor


def example(source: nn.Module, target: Target, *, damping: float, **settings) -> Example:
    """Fine-tune a source to one subset, and return the influence of its images.

    damping: of the influence. settings: as in `tuned`, with one seed.
    """
    (one,) = tuned(source, target, **settings)
    train, test = _beside(source, one.train, one.test)
    scores, among = (head_influence(*train, *on, damping=damping).cpu() for on in (test, train))
    return Example(one.members, one.train, one.test, scores, among)


def mislabel(y: Tensor, classes: int, share: float, seed: int) -> tuple[Tensor, Tensor]:
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


def _fine_tune(source, target, members, y, seeds, unfrozen_blocks, recipe):
    """Train a tail on each subset; yield it with the trunk's outputs (training, test).

    members, y: (S, n) positions in the target's training images, and their labels.
    """
    train, test = target
    # Only the chosen images go through the trunk, each once.
    used, places = members.unique(return_inverse=True)
    above, (below, below_test) = freeze_below(source, unfrozen_blocks, [train[used], test])
    inputs = (below[chosen] for chosen in places)
    tails = tune(above, inputs, y.to(below.device), len(train.classes), recipe, seeds=seeds)
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


def _beside(source, *sets):
    """Bring several Seen to the device of a source: a Hessian of thousands of features is large."""
    device = next(source.parameters()).device
    return [Seen(*(part.to(device) for part in seen)) for seen in sets]


def _columns(one, rule):
    """Return the columns of a row that say which subset and which rule it is of."""
    cutoff = rule.get("cutoff") or 0.0
    return {"subset_seed": one.subset_seed, "damping": rule["damping"], "cutoff": cutoff}


def _match(scores, one):
    """Return the share of test images whose first training image, by scores, has their class."""
    return float(matching.same_class(scores, one.test.y, one.train.y, 1).mean())


def _correlation(scores, others):
    """Return the mean over rows, test images, of the rank correlation of two kinds of scores."""
    return sum(spearmanr(a, b)[0] for a, b in zip(scores, others, strict=True)) / len(scores)


def rules_around(damping: float, cutoff: float) -> list[dict[str, float]]:
    """List rules for `matches`: a damping, then all of DAMPINGS; a cut-off, then all of CUTOFFS."""
    rules = [{"damping": d} for d in dict.fromkeys([damping, *DAMPINGS])]
    return rules + [{"damping": 0.0, "cutoff": c} for c in dict.fromkeys([cutoff, *CUTOFFS])]


def matches(
    source: nn.Module, target: Target, *, rules: Sequence[dict], ranks: int = 5, **settings
) -> pd.DataFrame:
    """Measure how often the most influential training images have the test image's class.

    rules: of damping and, where singular values are cut, cutoff. ranks: how many of the most
    influential images, at least 5, or all n where these are fewer. settings: as in `tuned`.

    Returns a row for each subset and rule: subset_seed, damping, cutoff (0: none), match (of the
    first), three_of_five, by_rank (a list), clean_accuracy. All are shares, 0 to 1.
    """
    rows = []
    for one in tuned(source, target, **settings):
        right = float((one.test.probs.argmax(1) == one.test.y).double().mean())
        train, test = _beside(source, one.train, one.test)
        for rule, scores in zip(rules, head_influences(train, test, rules), strict=True):
            count = min(ranks, len(one.members))
            same = matching.same_class(scores.cpu(), one.test.y, one.train.y, count)
            rows.append(
                {
                    **_columns(one, rule),
                    "match": float(same[:, 0].mean()),
                    "three_of_five": matching.at_least(same, 3, 5),
                    "by_rank": same.mean(0).tolist(),
                    "clean_accuracy": right,
                }
            )
    return pd.DataFrame(rows)


def retrained(
    source: nn.Module,
    target: Target,
    *,
    rules: Sequence[dict],
    weight_decay: float = Recipe.weight_decay,
    **settings,
) -> pd.DataFrame:
    """Leave out each training image in turn, retrain the head, and compare with what was predicted.

    The head is at its optimum. rules: as in `matches`. settings: as in `tuned`, without epochs.

    Returns a row for each subset and rule: subset_seed, damping, cutoff, spearman (the rank
    correlation of predicted and actual changes over the training images, mean over the test
    images) and match (the share of test images whose actually most helpful image has their class).
    """
    rows = []
    for one in tuned(source, target, epochs=0, weight_decay=weight_decay, **settings):
        predicted, actual = _changes(source, one, rules, weight_decay)
        for rule, changes in zip(rules, predicted, strict=True):
            values = {"spearman": _correlation(changes, actual), "match": _match(actual, one)}
            rows.append(_columns(one, rule) | values)
    return pd.DataFrame(rows)


def leave_out(
    source: nn.Module,
    target: Target,
    *,
    rule: dict,
    weight_decay: float = Recipe.weight_decay,
    **settings,
) -> tuple[Tensor, Tensor]:
    """Return what `retrained` compares: the changes predicted by a rule, and the actual ones.

    rule: one of those of `retrained`. settings: as in `retrained`, with one seed. Returns two
    (N_test, n), by how much each test image's loss rises without each training image.
    """
    (one,) = tuned(source, target, epochs=0, weight_decay=weight_decay, **settings)
    (predicted,), actual = _changes(source, one, [rule], weight_decay)
    return predicted, actual


def _changes(source, one, rules, weight_decay):
    """Return the changes of the test losses, (N_test, n): predicted by each rule, and actual."""
    count, classes = one.train.probs.shape
    train, test = _beside(source, one.train, one.test)
    pairs = (train.features, train.y), (test.features, test.y)
    actual = leave_one_out(*pairs, range(count), classes=classes, weight_decay=weight_decay)
    predicted = [scores.cpu() / count for scores in head_influences(train, test, rules)]
    return predicted, actual.cpu()


def mislabelled(
    source: nn.Module, target: Target, *, damping: float, flip: float, **settings
) -> pd.DataFrame:
    """Measure how many wrong labels are found by checking the most suspicious images first.

    Suspicious is an image of large influence on its own loss, or, for comparison, one of large
    loss. damping: of the influence. flip: share of wrong labels. settings: as in `tuned`.

    Returns a row for each subset, ranking and share checked: subset_seed, ranking, checked, found.
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
            columns = {"subset_seed": one.subset_seed, "ranking": ranking}
            rows += [
                {**columns, "checked": checked, "found": share}
                for checked, share in zip(CHECKED, shares, strict=True)
            ]
    return pd.DataFrame(rows)


def beyond_the_head(
    source: nn.Module, target: Target, *, damping: float, unfrozen_blocks: int, **settings
) -> pd.DataFrame:
    """Compare the influence through unfrozen blocks with that through the head alone.

    The blocks are fine-tuned in both. damping: of both. settings: as in `tuned`.

    Returns a row for each subset: subset_seed, unfrozen_blocks, the match of the most influential
    image through the head (exact) and through the blocks and the head (EK-FAC), and the rank
    correlation of the two, as the mean over the test images.
    """
    rows = []
    for one in tuned(source, target, unfrozen_blocks=unfrozen_blocks, **settings):
        train, test = _beside(source, one.train, one.test)
        sides = one.below[0], one.train.y, one.below[1], one.test.y
        head = head_influence(*train, *test, damping=damping).cpu()
        blocks = tail_influence(one.tail, *sides, damping=damping).cpu()
        rows.append(
            {
                "subset_seed": one.subset_seed,
                "unfrozen_blocks": unfrozen_blocks,
                "match_head": _match(head, one),
                "match_blocks": _match(blocks, one),
                "spearman": _correlation(head, blocks),
            }
        )
    return pd.DataFrame(rows)


def by_rank(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each rank of each of the rows of `matches`: rank, from 1, and share."""
    rows = rows.reset_index(drop=True).explode("by_rank").rename(columns={"by_rank": "share"})
    return rows.assign(rank=rows.groupby(level=0).cumcount() + 1, share=rows["share"].astype(float))


def rates(
    matches: pd.DataFrame,
    retrained: pd.DataFrame,
    at_random: pd.DataFrame,
    *,
    epochs: int,
    damping: float,
    cutoff: float,
) -> pd.DataFrame:
    """Line up the match rates under several definitions of influence, as rows of one form.

    matches, retrained: rows of the functions of these names, with the columns constraint,
    source_seed and epochs. at_random: rows of `matches` with labels drawn at random. epochs,
    damping, cutoff: which of the rows.

    Returns a row for each network, subset and definition: the columns given, definition and share;
    "accuracy" is that of the network. Where no count is named, the rate is that of the first image.
    """
    usual = matches[matches["epochs"] == epochs]
    cut = usual[usual["cutoff"] == cutoff]
    damped = usual[usual["damping"] == damping]
    parts = {
        "accuracy": (damped, "clean_accuracy"),
        "cut-off": (cut, "match"),
        "cut-off, 3 of 5": (cut, "three_of_five"),
        "damping": (damped, "match"),
        "damping, 3 of 5": (damped, "three_of_five"),
        "retraining": (retrained[retrained["damping"] == damping], "match"),
        "random labels": (at_random, "match"),
    }
    return pd.concat(
        [part.assign(definition=name, share=part[value]) for name, (part, value) in parts.items()],
        ignore_index=True,
    )
