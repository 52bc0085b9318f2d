"""Heads at their optimum, the weight decay chosen by validation: no learning rate decides."""

import time
import warnings
from collections.abc import Iterator, Sequence

import pandas as pd
import torch
from torch import nn

from lib.images import Images, choose
from lib.studies.held_out import held_out
from lib.training import BATCH
from lib.tuning import freeze_below

DECAYS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 1e-3, 1e-4)
"""Weight decays that are tried, of features of variance 1, from the largest."""


def probes(
    source: nn.Module,
    target: tuple[Images, Images],
    *,
    n: Sequence[int],
    seeds: Sequence[int] = (0,),
    decays: Sequence[float] = DECAYS,
) -> Iterator[pd.DataFrame]:
    """Fit the best head on a source's frozen features, once for each size and subset.

    A linear probe as of Kornblith et al. (2019): logistic regression by L-BFGS on the
    features, each shifted and scaled to mean 0 and variance 1 over the training images. Of
    several weight decays the one is taken that is right most often on HELD_OUT of the training
    images, of equal ones the largest; with it the head is fitted to all of them. The test images
    are read once.

    source: left unchanged; its device is used. target: training and test images. n: numbers of
    training images. seeds: each chooses a subset, the same for every source. decays: what is tried,
    from the largest.

    Yields a DataFrame for each size, a row for each subset: n_train, subset_seed, weight_decay,
    seconds, train_accuracy and clean_accuracy, on the test images, both 0 to 1. Raises ValueError
    as `lib.images.choose` does, and NotFinite, which is one, as `freeze_below` does.
    """
    train, test = target
    chosen = {size: [choose(train, size, seed) for seed in seeds] for size in n}
    used = torch.cat([one for members in chosen.values() for one in members]).unique()
    shown = (train.x[part] for part in used.split(BATCH))
    _, (known, asked) = freeze_below(source, 0, [shown, test])
    known, asked = known.double().cpu().numpy(), asked.double().cpu().numpy()
    for size, subsets in chosen.items():
        rows = []
        for seed, members in zip(seeds, subsets, strict=True):
            start = time.perf_counter()
            features, y = known[torch.searchsorted(used, members).numpy()], train.y[members]
            decay = _best_decay(features, y, decays)
            probe = _fit(_probe(), features, y.numpy(), decay)
            rows.append(
                {
                    "n_train": size,
                    "subset_seed": seed,
                    "weight_decay": decay,
                    "train_accuracy": probe.score(features, y.numpy()),
                    "clean_accuracy": probe.score(asked, test.y.numpy()),
                    "seconds": time.perf_counter() - start,
                }
            )
        yield pd.DataFrame(rows)


def _best_decay(features, y, decays):
    """Choose the weight decay: the largest of those that are right most often on held-out images.

    Where there is but one image of a class, nothing can be held out: the middle one is taken.
    """
    part = held_out(y)
    if part is None:
        return decays[len(decays) // 2]
    held, labels = part.numpy(), y.numpy()
    probe, right = _probe(), []
    for decay in decays:
        _fit(probe, features[~held], labels[~held], decay)
        right.append(probe.score(features[held], labels[held]))
    return decays[right.index(max(right))]


def _probe():
    """Return a head behind a scaler, to be fitted; a second fit begins where the first ended."""
    # Imported here, since it takes a second that most who import this do not need.
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, warm_start=True))


def _fit(probe, features, y, decay):
    """Fit a probe with a weight decay, and return it."""
    probe.set_params(logisticregression__C=1 / (decay * len(y)))
    with warnings.catch_warnings():  # few images of many classes are what is asked
        warnings.filterwarnings("ignore", message="The number of unique classes is greater")
        return probe.fit(features, y)
