"""Which labels to look at again: images that harm, or that only their own label speaks for."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from lib import datasets, stats
from lib.advisor import scores
from lib.advisor.advice import Split
from lib.images import Images
from lib.influence import head_influence, self_influence
from lib.runtime import files
from lib.softmax_head import Seen
from lib.studies import matching
from lib.studies.retraining import fit_to_optimum, probabilities
from lib.studies.tuned_heads import mislabel
from lib.tuning import freeze_below

ROWS = 1_500
"""Rows of the Hessian at most; features of more dimensions are taken in their first directions."""
RANKINGS = ("self-influence", "harm", "held-out loss")
"""What can be looked at first, as columns of `suspicions`."""


def seen(source: nn.Module, images: Images) -> Tensor:
    """Return the features (N, d) that a source's head sees, float64, on the CPU.

    Where the Hessian of a head on them would have more than ROWS rows, they are rotated to their
    principal directions (uncentred, from one image's point of view nothing else changes), and the
    first ones kept; with fewer the rotation alone would change nothing.
    """
    _, (features,) = freeze_below(source, 0, [images])
    features = features.double().cpu()
    width = max(ROWS // (len(images.classes) - 1) - 1, 8)
    if features.shape[1] <= width:
        return features
    _, _, directions = torch.linalg.svd(features, full_matrices=False)
    return features @ directions[:width].T


def suspicions(
    features: Tensor, images: Images, parts: Sequence[Split], *, weight_decay: float = 5e-4
) -> pd.DataFrame:
    """Tell of each labelled image how doubtful its label is.

    The head is trained to its optimum, where influence is exact (Koh and Liang, 2017): on all
    images for the self-influence, and on each split's training side for the rest.

    features: (N, d), as `seen` returns them. images: for their labels. parts: Splits in which each
    image is tested on at least once. weight_decay: of the head.

    Returns a DataFrame, a row an image: label; self-influence, by how much its own loss would rise
    if it were left out; harm, by how much the mean loss on images held out would fall, the mean
    over splits; held-out loss, of the image where it is held out; answer, the class that the heads
    give it there, and sure, the mean probability of that class. Losses in nats. Raises ValueError
    where an image is never tested on.
    """
    trained, tested = (
        torch.cat(sides).bincount(minlength=len(images))
        for sides in ([part.train for part in parts], [part.test for part in parts])
    )
    if not tested.all():
        lacking = int(tested.argmin())
        raise ValueError(f"image {lacking} is on no split's test side; give whole rounds of splits")
    everything = torch.arange(len(images))
    see = _head(features, images, everything, weight_decay)
    own = self_influence(*see(everything), damping=weight_decay) / len(images)
    harm, probs = _over_splits(features, images, parts, weight_decay)
    probs = probs / tested[:, None]
    sure, answer = probs.max(1)
    return pd.DataFrame(
        {
            "label": images.y.numpy(),
            "self-influence": own.numpy(),
            "harm": (harm / trained.clamp_min(1)).numpy(),
            "held-out loss": -probs[everything, images.y].log().numpy(),
            "answer": answer.numpy(),
            "sure": sure.numpy(),
        }
    )


def write(
    suspects: pd.DataFrame,
    names: Sequence[str],
    classes: Sequence[str],
    target: str,
    path: str | Path,
) -> None:
    """Write all labels as CSV, those of largest self-influence first, whole or not at all.

    suspects: as `suspicions` returns them. names: what `lib.datasets.labelled.load` calls the
    images of the target; of a folder, whole paths are written. classes: names.
    """
    root = datasets.find(target)
    named = suspects.assign(
        image=[root / name for name in names] if isinstance(root, Path) else names,
        label=[classes[i] for i in suspects["label"]],
        answer=[classes[i] for i in suspects["answer"]],
    )
    rest = [column for column in suspects if column not in ("label", "answer")]
    ordered = named.sort_values(RANKINGS[0], ascending=False, kind="stable")
    text = ordered[["image", "label", "answer", *rest]].to_csv(index=False, lineterminator="\n")
    files.replace(Path(path).expanduser(), text.encode("utf-8", "backslashreplace"))


def most_doubtful(suspects: pd.DataFrame, count: int) -> dict[str, pd.DataFrame]:
    """Return the rows of `suspicions` that each ranking by influence puts first, by ranking."""
    return {
        ranking: suspects.sort_values(ranking, ascending=False).head(count)
        for ranking in RANKINGS[:2]
    }


def _head(features, images, chosen, weight_decay):
    """Train a head on the chosen images; return what maps positions to how it sees them."""
    classes, y = len(images.classes), images.y[chosen]
    weights = fit_to_optimum(features[chosen], y, classes, weight_decay=weight_decay)
    probs = probabilities(features, weights)
    return lambda which: Seen(features[which], probs[which], images.y[which])


def _over_splits(features, images, parts, weight_decay):
    """Add up over splits the harm (N,) of images, and their probabilities (N, C).

    An image does harm in the splits that train on it, and has probabilities where it is held out.
    """
    harm = torch.zeros(len(images), dtype=torch.float64)
    probs = torch.zeros(len(images), len(images.classes), dtype=torch.float64)
    for part in parts:
        see = _head(features, images, part.train, weight_decay)
        known, held = see(part.train), see(part.test)
        scores = head_influence(*known, *held, damping=weight_decay)
        harm[part.train] -= scores.mean(0) / len(part.train)
        probs[part.test] += held.probs
    return harm, probs


def planted(
    features: Tensor,
    images: Images,
    parts: Sequence[Split],
    *,
    share: float,
    checked: Sequence[float],
    seed: int,
) -> pd.DataFrame:
    """Flip some labels on purpose, and count how many of them each ranking finds.

    features, images, parts: as in `suspicions`. share: of the labels that are flipped, above 0 to
    1. checked: shares of the images that are checked, the most doubtful first. seed: of the flips.

    Returns a DataFrame, a row for each ranking and share checked: seed, ranking, checked, found.
    """
    y, wrong = mislabel(images.y, len(images.classes), share, seed)
    asked = suspicions(features, Images(images.x, y, images.classes), parts)
    return pd.concat(
        pd.DataFrame(
            {
                "seed": seed,
                "ranking": ranking,
                "checked": list(checked),
                "found": matching.share_found(asked[ranking], wrong, np.asarray(checked)),
            }
        )
        for ranking in RANKINGS
    )


def caught(trials: pd.DataFrame, flips: int) -> pd.DataFrame:
    """Summarise rows of `planted` over their seeds, for each ranking and share checked.

    flips: labels flipped in a trial. Returns what `lib.stats.summary` does, with intervals no
    narrower than so many flips allow (`scores.share`).
    """
    found = stats.summary(trials, "found", ["ranking", "checked"], seed="seed")
    shares = found[["mean", "low", "high"]].itertuples(index=False)
    widened = [scores.share(tuple(s), flips * trials["seed"].nunique()) for s in shares]
    return found.assign(**pd.DataFrame(widened, columns=["mean", "low", "high"]).clip(0, 1))
