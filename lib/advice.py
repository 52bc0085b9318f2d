"""Which source to start from, by repeated splits of one's own labelled images alone."""

import numpy as np
import pandas as pd
import torch
from scipy.optimize import curve_fit

from lib import data
from lib.stats import resampled
from lib.transfer import freeze_below, outputs, tune

TEST_SHARE = 0.25
"""Share of the labelled images that each split keeps for testing."""


def splits(images, repeats, seed=0):
    """Divide labelled images at random, the same share of each class, several times.

    images: Images, at least two of each class. repeats: number of splits. seed: of the splits,
    the same for every source.

    Returns pairs (training, test) of positions, int64. Raises ValueError for a class with fewer
    than two images, and for fewer images than a split can put one of each class on both sides.
    """
    counts = images.y.bincount(minlength=len(images.classes))
    for name, count in zip(images.classes, counts.tolist(), strict=True):
        if count < 2:
            raise ValueError(f"class {name!r} has {count} labelled image(s); at least 2 are needed")
    if round(TEST_SHARE * len(images)) < len(images.classes):
        raise ValueError(
            f"{len(images)} images of {len(images.classes)} classes are too few to split; at "
            f"least {round(len(images.classes) / TEST_SHARE)} are needed"
        )
    from sklearn.model_selection import StratifiedShuffleSplit  # slow to import

    shuffle = StratifiedShuffleSplit(repeats, test_size=TEST_SHARE, random_state=seed)
    return [
        (torch.from_numpy(train), torch.from_numpy(test))
        for train, test in shuffle.split(np.zeros(len(images)), images.y.numpy())
    ]


def sizes(images):
    """List the training-set sizes of a learning curve: 2 a class, doubling, up to a split's all."""
    largest = len(images) - round(np.ceil(TEST_SHARE * len(images)))
    start = min(2 * len(images.classes), largest)
    doubled = [start * 2**k for k in range(20) if start * 2**k < 0.75 * largest]
    return [*doubled, largest]


def measure(
    source, images, *, repeats, unfrozen_blocks=0, n=None, seed=0, epochs=150, lr=0.1,
    batch_size=128, weight_decay=5e-4,
):  # fmt: skip
    """Fine-tune a source to growing parts of each split's training side, and test on the other.

    source, unfrozen_blocks, epochs, lr, batch_size, weight_decay: as in
    `lib.transfer.transfer`. images: Images, all that is labelled. repeats, seed: as in `splits`.
    n: training-set sizes, or None for `sizes`; a smaller one lies within a larger one.

    Returns a DataFrame, one row per fine-tuned model: split, n_train, unfrozen_blocks,
    clean_accuracy (0 to 1, on that split's test side). Raises ValueError as `splits` and
    `transfer` do.
    """
    settings = {"epochs": epochs, "lr": lr, "batch_size": batch_size, "weight_decay": weight_decay}
    above, (below,) = freeze_below(source, unfrozen_blocks, [images])
    parts, rows = splits(images, repeats, seed), []
    for size in n or sizes(images):
        members = [
            train[data.choose(images[train], size, number)]
            for number, (train, _) in enumerate(parts)
        ]
        y = images.y[torch.stack(members)].to(below.device)
        inputs = (below[chosen] for chosen in members)
        tuned = tune(above, inputs, y, len(images.classes), seeds=range(repeats), **settings)
        for number, ((tail, _), (_, test)) in enumerate(zip(tuned, parts, strict=True)):
            answers = outputs(tail, below[test].split(500)).argmax(1).cpu()
            rows.append(
                {
                    "split": number,
                    "n_train": size,
                    "unfrozen_blocks": unfrozen_blocks,
                    "clean_accuracy": float((answers == images.y[test]).double().mean()),
                }
            )
    return pd.DataFrame(rows)


def summary(rows, by):
    """Summarise accuracies over splits, for each combination of the columns `by`.

    rows: as `measure` returns them. Returns a DataFrame of the columns `by`, mean, low and high,
    with intervals as of `lib.stats.resampled`, cut at 0 and 1.
    """
    found = [
        (*(key if isinstance(key, tuple) else (key,)), *resampled(values, TEST_SHARE))
        for key, values in rows.groupby(by, sort=False)["clean_accuracy"]
    ]
    frame = pd.DataFrame(found, columns=[*by, "mean", "low", "high"])
    return frame.assign(low=frame["low"].clip(0, 1), high=frame["high"].clip(0, 1))


def leads(rows, column="source"):
    """Compare the best of several choices with each other, split by split.

    rows: as `measure` returns them, of one size, with the column that tells the choices apart.

    Returns (best, DataFrame): the choice of highest mean accuracy, and for each other one its
    name under `column` and by how much the best is ahead: mean, low, high (as in `summary`),
    the closest first. The best is chosen on the same numbers, so its lead is, if anything,
    overstated.
    """
    wide = rows.pivot(index="split", columns=column, values="clean_accuracy")
    best = wide.mean().idxmax()
    ahead = [
        (name, *resampled(wide[best] - wide[name], TEST_SHARE)) for name in wide if name != best
    ]
    frame = pd.DataFrame(ahead, columns=[column, "mean", "low", "high"])
    return best, frame.sort_values("mean", kind="stable").reset_index(drop=True)


def recommendation(best, ahead, column="source"):
    """Say in a sentence what to choose, and how sure that is.

    best, ahead: as `leads` returns them.
    """
    tied = [row[column] for _, row in ahead.iterrows() if not row["low"] > 0]
    if not len(ahead):
        return f"{best} is the only choice that was measured."
    if not tied:
        return f"Choose {best}: it is ahead of every other, and each interval leaves zero out."
    others = ", ".join(map(str, tied))
    if len(tied) == len(ahead):
        return f"No difference can be told: {best} has the highest mean, but so might {others}."
    return f"Choose {best}; no difference can be told from {others}, but the others are behind."


def after_doubling(rows, *, draws=200, seed=0):
    """Predict what labelling twice as many images would gain, from a curve of one source.

    The error is fitted by a + b·n^(−c), a power law (Hestness et al., 2017), and followed to twice
    the largest n. The interval comes from drawing the splits again with replacement.

    rows: as `measure` returns them, of at least three sizes. draws, seed: of the splits.

    Returns {"now": n, "gain": (mean, low, high) in accuracy, "checked": the error of the same
    prediction made for the largest n from the sizes up to half of it, NaN with too few of them}.
    Raises ValueError for fewer than three sizes.
    """
    wide = rows.pivot(index="split", columns="n_train", values="clean_accuracy").sort_index(axis=1)
    n = wide.columns.to_numpy(dtype=float)
    if len(n) < 3:
        raise ValueError(f"the curve has {len(n)} sizes; at least 3 are needed to follow it")

    def gain(curve):
        return _followed(n, curve, 2 * n[-1]) - _followed(n, curve, n[-1])

    generator = np.random.default_rng(seed)
    drawn = [
        gain(wide.to_numpy()[generator.integers(len(wide), size=len(wide))].mean(0))
        for _ in range(draws)
    ]
    early, curve = n <= n[-1] / 2, wide.mean().to_numpy()
    checked = np.nan
    if early.sum() >= 3:
        checked = _followed(n[early], curve[early], n[-1]) - curve[-1]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {"now": int(n[-1]), "gain": (gain(curve), low, high), "checked": float(checked)}


def _followed(n, accuracy, where):
    """Fit a power law to the errors, and return the accuracy it has at `where`."""

    def error(n, floor, scale, rate):
        return floor + scale * (n / n0) ** -rate

    n0 = n[0]
    start = (0.5 * (1 - accuracy[-1]), max(1 - accuracy[0], 1e-3), 0.5)
    bounds = ([0, 0, 0], [1, 2, 3])
    start = np.clip(start, bounds[0], bounds[1])
    found, _ = curve_fit(error, n, 1 - accuracy, p0=start, bounds=bounds, max_nfev=5000)
    return 1 - error(where, *found)
