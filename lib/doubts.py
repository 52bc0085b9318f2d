"""Which labels to look at again: images that harm, or that only their own label speaks for."""

import numpy as np
import pandas as pd
import torch

from lib import matching
from lib.attribution import mislabel
from lib.images import Images
from lib.influence import Seen, head_influence, self_influence
from lib.retraining import fit_to_optimum, probabilities
from lib.tails import freeze_below

ROWS = 1_500
"""Rows of the Hessian at most; features of more dimensions are taken in their first directions."""
RANKINGS = ("self-influence", "harm", "held-out loss")
"""What can be looked at first, as columns of `suspicions`."""


def seen(source, images, classes):
    """Return the features (N, d) that a source's head sees, float64, on the CPU.

    Where the Hessian of a head on them would have more than ROWS rows, they are rotated to their
    principal directions (uncentred, from one image's point of view nothing else changes), and the
    first ones kept; with fewer the rotation alone would change nothing.
    """
    _, (features,) = freeze_below(source, 0, [images])
    features = features.double().cpu()
    width = max(ROWS // (classes - 1) - 1, 8)
    if features.shape[1] <= width:
        return features
    _, _, directions = torch.linalg.svd(features, full_matrices=False)
    return features @ directions[:width].T


def suspicions(features, images, parts, *, weight_decay=5e-4):
    """Tell of each labelled image how doubtful its label is.

    The head is trained to its optimum, where influence is exact (Koh and Liang, 2017): on all
    images for the self-influence, and on each split's training side for the rest.

    features: (N, d), as `seen` returns them. images: Images, for their labels. parts: Splits in
    which each image is tested on at least once. weight_decay: of the head.

    Returns a DataFrame, a row an image: label; self-influence, by how much its own loss would rise
    if it were left out; harm, by how much the mean loss on images held out would fall, the mean
    over splits; held-out loss, of the image where it is held out; answer, the class that the heads
    give it there, and sure, the mean probability of that class. Losses in nats. Raises ValueError
    where an image is never tested on.
    """
    count, classes = len(images), len(images.classes)

    def head(chosen):
        y = images.y[chosen]
        weights = fit_to_optimum(features[chosen], y, classes, weight_decay=weight_decay)
        probs = probabilities(features, weights)
        return lambda which: Seen(features[which], probs[which], images.y[which])

    everything = torch.arange(count)
    own = self_influence(*head(everything)(everything), damping=weight_decay) / count
    harm, trained = torch.zeros(count, dtype=torch.float64), torch.zeros(count)
    probs, tested = torch.zeros(count, classes, dtype=torch.float64), torch.zeros(count)
    for part in parts:
        see = head(part.train)
        known, held = see(part.train), see(part.test)
        scores = head_influence(*known, *held, damping=weight_decay)
        harm[part.train] -= scores.mean(0) / len(part.train)
        probs[part.test] += held.probs
        trained[part.train] += 1
        tested[part.test] += 1
    if not tested.all():
        lacking = int(tested.argmin())
        raise ValueError(f"image {lacking} is on no split's test side; give whole rounds of splits")
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


def planted(features, images, parts, *, share, checked, seed):
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
                "found": matching.found(asked[ranking], wrong, np.asarray(checked)),
            }
        )
        for ranking in RANKINGS
    )
