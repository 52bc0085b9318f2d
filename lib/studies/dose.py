"""Dose and response: sources that learned the drawn world with other amplitudes of its texture."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import pandas as pd

from lib import microcosm
from lib.cue_conflict import drawn
from lib.images import Images
from lib.shape_bias import bias
from lib.studies.ladder import Ladder
from lib.transfer import transfer


def ladders(
    given: Mapping, ladder: Ladder, amplitudes: Iterable[float], train: Images, test: Images
) -> dict[float, Ladder]:
    """Train the sources of a ladder once more, in worlds whose texture has other amplitudes.

    given, ladder: the chapter's parameters, and the ladder of the microcosm as it is by default.
    amplitudes: as in `lib.microcosm.draw`; the default one need not be among them. train, test:
    what the ladder learned: of other amplitudes as many images are drawn.

    Returns the ladders by amplitude, in order. Files of rows note it, too.
    """
    worlds = {microcosm.AMPLITUDE: ladder}
    for amplitude in set(amplitudes) - {microcosm.AMPLITUDE}:
        parts = [
            microcosm.draw(len(part), seed, amplitude=amplitude, size=part.x.shape[-1])
            for seed, part in enumerate((train, test))
        ]
        again: dict = {"under": ladder.names, "seeds": ladder.seeds, "controls": False}
        worlds[amplitude] = Ladder.of(given, *parts, **again)
    for amplitude, made in worlds.items():
        noted = ladder.noted | {"amplitude": amplitude}
        worlds[amplitude] = replace(made, rows_file=ladder.rows_file, noted=noted)
    return dict(sorted(worlds.items()))


def measure(
    worlds: Mapping[float, Ladder], target: tuple[Images, Images], *, subsets: int, **tuning
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measure the sources of each world: their shape bias in it, and their transfer to a target.

    worlds: as of `ladders`. target, tuning: as in `lib.transfer.transfer`. subsets: of the target
    for each source seed.

    Returns the rows of `lib.shape_bias.bias`, on conflicts drawn in the source's own world, and of
    `transfer`, both with the column amplitude.
    """
    size, biases, transfers = target[0].x.shape[-1], [], []
    for amplitude, ladder in worlds.items():
        own = drawn(600, 1, amplitude=amplitude, size=size)
        asked = ladder.measure(bias, conflicts=own, label="bias by dose")
        biases.append(asked.assign(amplitude=amplitude))
        call = {"target": target, "seeds": ladder.subsets(subsets), **tuning}
        moved = ladder.measure(transfer, label="transfer by dose", **call)
        transfers.append(moved.assign(amplitude=amplitude))
    return pd.concat(biases or [pd.DataFrame()]), pd.concat(transfers or [pd.DataFrame()])
