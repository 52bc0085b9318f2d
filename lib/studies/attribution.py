"""Which training images matter to a fine-tuned network, measured over sources and subsets."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn.functional import nll_loss

from lib.images import Images, subset
from lib.influence import head_influence, head_influences, self_influence
from lib.softmax_head import Seen
from lib.studies import matching
from lib.studies.ekfac import tail_influence
from lib.studies.matching import OF
from lib.studies.retraining import leave_one_out
from lib.studies.tuned_heads import Target, on_device_of, tuned
from lib.tuning import Recipe

DAMPINGS = (5e-5, 5e-4, 5e-3, 5e-2, 0.5)
CUTOFFS = (5e-4, 5e-3, 5e-2, 0.2)
CHECKED = tuple(i / 50 for i in range(51))
"""Shares of the training images at which `mislabelled` counts what is found."""


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
    train, test = on_device_of(source, one.train, one.test)
    scores, among = (head_influence(*train, *on, damping=damping).cpu() for on in (test, train))
    return Example(one.members, one.train, one.test, scores, among)


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


def check_size(images: Images, n: int) -> None:
    """Raise ValueError unless `matches` can be asked with n of the images, at least 5."""
    subset(images, n, seed=0)  # one of each class at least
    if n < OF:
        raise ValueError(f"{n} training images; allowed are {OF} and more, the most influential")


def matches(
    source: nn.Module, target: Target, *, rules: Sequence[dict], ranks: int = OF, **settings
) -> pd.DataFrame:
    """Measure how often the most influential training images have the test image's class.

    rules: of damping and, where singular values are cut, cutoff. ranks: how many of the most
    influential images, at least OF, or all n where these are fewer. settings: as in `tuned`.

    Returns a row for each subset and rule: subset_seed, damping, cutoff (0: none), match (of the
    first), three_of_five, by_rank (a list), clean_accuracy. All are shares, 0 to 1.
    """
    rows = []
    for one in tuned(source, target, **settings):
        train, test = on_device_of(source, one.train, one.test)
        for rule, scores in zip(rules, head_influences(train, test, rules), strict=True):
            count = min(ranks, len(one.members))
            same = matching.same_class(scores.cpu(), one.test.y, one.train.y, count)
            rows.append(
                {
                    **_columns(one, rule),
                    **matching.two_rates(same),
                    "by_rank": same.mean(0).tolist(),
                    "clean_accuracy": one.clean_accuracy,
                }
            )
    return pd.DataFrame(rows)


def retrained(
    source: nn.Module, target: Target, *, rules: Sequence[dict], **settings
) -> pd.DataFrame:
    """Leave out each training image in turn, retrain the head, and compare with what was predicted.

    The head is at its optimum. rules: as in `matches`. settings: as in `tuned`, without epochs and
    weight_decay, which is the usual one of `lib.tuning.Recipe`.

    Returns a row for each subset and rule: subset_seed, damping, cutoff, spearman (the rank
    correlation of predicted and actual changes over the training images, mean over the test
    images) and match (the share of test images whose actually most helpful image has their class).
    """
    rows = []
    for one in tuned(source, target, epochs=0, **settings):
        predicted, actual = _changes(source, one, rules)
        for rule, changes in zip(rules, predicted, strict=True):
            values = {"spearman": _correlation(changes, actual), "match": _match(actual, one)}
            rows.append(_columns(one, rule) | values)
    return pd.DataFrame(rows)


def leave_out(
    source: nn.Module, target: Target, *, rule: dict, **settings
) -> tuple[Tensor, Tensor]:
    """Return what `retrained` compares: the changes predicted by a rule, and the actual ones.

    rule: one of those of `retrained`. settings: as in `retrained`, with one seed. Returns two
    (N_test, n), by how much each test image's loss rises without each training image.
    """
    (one,) = tuned(source, target, epochs=0, **settings)
    (predicted,), actual = _changes(source, one, [rule])
    return predicted, actual


def _changes(source, one, rules):
    """Return the changes of the test losses, (N_test, n): predicted by each rule, and actual."""
    count, classes = one.train.probs.shape
    train, test = on_device_of(source, one.train, one.test)
    pairs = (train.features, train.y), (test.features, test.y)
    decay = Recipe.weight_decay
    actual = leave_one_out(*pairs, range(count), classes=classes, weight_decay=decay)
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
        (train,) = on_device_of(source, one.train)
        rankings = {
            "self-influence": self_influence(*train, damping=damping).cpu(),
            "loss": nll_loss(one.train.probs.log(), one.train.y, reduction="none"),
        }
        for ranking, suspicion in rankings.items():
            shares = matching.share_found(suspicion, one.wrong, CHECKED)
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
        train, test = on_device_of(source, one.train, one.test)
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
