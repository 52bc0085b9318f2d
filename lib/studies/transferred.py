"""How sources transfer: heads on frozen features, learning curves, and ever more blocks trained.

Each measurement takes a study and returns the rows of one table, as those of
`lib.studies.measurements` do.
"""

import pandas as pd

from lib.studies import fine_tuned
from lib.studies.best_rate import RATES, transfers_at_best_rate
from lib.studies.claims import rules
from lib.studies.ladder import By
from lib.studies.linear_probe import DECAYS, probes
from lib.studies.study import Study, sizes_held

EPOCHS = 30
"""Passes of the fine-tuning at several depths, and of the learning curves."""
MORE_DECAYS, MORE_RATES = (100.0, 30.0, 10.0, 3.0), (1.0,)
"""What is tried beyond the largest weight decay, up to where a head tells classes no otherwise, and
beyond the largest learning rate.
"""


def heads(study: Study) -> pd.DataFrame:
    """Fit the best heads on the features of every source: accuracy by target and size.

    Beside it stands source_accuracy, the source's on images of its own task; random weights have
    none.
    """
    rows = _best_heads(study, study.ladder, sizes_held(study.targets, study.protocol.sizes))
    keys = zip(rows["constraint"], rows["source_seed"], strict=True)
    return rows.assign(source_accuracy=[study.accuracies.get(key) for key in keys])


def heads_wider(study: Study) -> pd.DataFrame:
    """Fit the heads with the fewest images again, larger weight decays tried besides.

    Of natural sources and the robust rung; on the same images as `heads`.
    """
    fewest = _fewest(study, study.protocol.sizes)
    return _best_heads(study, study.pair, fewest, decays=(*MORE_DECAYS, *DECAYS))


def _best_heads(study, ladder, held, **how):
    """Fit the best heads on the features of a ladder's sources, at the sizes of each target."""
    return ladder.measure(
        probes,
        over={"target": study.targets},
        together={"n": held},
        seeds=study.ladder.subsets(rules()["subsets"]),
        label="heads",
        **how,
    )


def _fewest(study, sizes):
    """Return the smallest of the sizes that each target has training images for, as a list."""
    held = sizes_held(study.targets, sizes)
    return By("target", {target: [n] for target, n in _smallest(held).items()})


def _smallest(held):
    """Return the smallest size of each target."""
    return {target: min(numbers) for target, numbers in held.values.items()}


def curves(study: Study) -> pd.DataFrame:
    """Fine-tune one block: the area under the learning curve, at the best learning rate.

    The rate is the one that is best with the fewest images.
    """
    held = sizes_held(study.targets, study.protocol.curve_sizes)
    return _learning_curves(study, study.deepened, held)


def curves_wider(study: Study) -> pd.DataFrame:
    """Draw the curves with the fewest images again, a larger learning rate tried besides.

    Of natural sources and the robust rung; on the same images as `curves`.
    """
    fewest = _fewest(study, study.protocol.curve_sizes)
    return _learning_curves(study, study.pair, fewest, rates=(*RATES, *MORE_RATES))


def _learning_curves(study, ladder, held, **how):
    """Fine-tune one block of a ladder's sources at the sizes of each target; return the areas."""
    every = ladder.measure(
        transfers_at_best_rate,
        over={"target": study.targets},
        **_by_size(study, held),
        unfrozen_blocks=1,
        evaluate_at=range(1, EPOCHS + 1),
        label="curves",
        **how,
    )
    return fine_tuned.area(every)


def depths(study: Study) -> pd.DataFrame:
    """Fine-tune ever more blocks, at the learning rate that is best with the fewest images.

    The number of blocks that is "all" takes its place.
    """
    rows = study.deepened.measure(
        transfers_at_best_rate,
        over={"target": study.targets, "unfrozen_blocks": study.protocol.depths},
        **_by_size(study, sizes_held(study.targets, study.protocol.depth_sizes)),
        label="depths",
    )
    (blocks,) = {len(network.blocks) for network in study.ladder.networks.values()}
    return rows.assign(unfrozen_blocks=rows["unfrozen_blocks"].replace(-1, blocks))


def _by_size(study, held):
    """Return how sources are fine-tuned to sizes: at the rate that is best with the fewest."""
    return {
        "together": {"n": held},
        "chosen_at": By("target", _smallest(held)),
        "seeds": study.ladder.subsets(1),
        "epochs": EPOCHS,
    }
