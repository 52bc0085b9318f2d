"""Dose and response: sources that learned the drawn world with more or less of its texture."""

from dataclasses import replace

import pandas as pd

from lib import microcosm
from lib.constraint import NATURAL
from lib.cue_conflict import drawn
from lib.shape_bias import bias
from lib.studies.claims import rules
from lib.studies.ladder import NETWORK, Ladder
from lib.studies.linear_probe import probes
from lib.studies.study import Study, sizes_held

CONFLICTS = 900
"""Images of cue conflict that each source is asked about, drawn with the amplitude it learned."""


def doses(study: Study) -> pd.DataFrame:
    """Train natural and robust sources at each amplitude of the texture, and transfer them.

    study: its protocol names the amplitudes, as in `lib.microcosm.draw`. In each world as many
    images are drawn as the study's sources have learned and are tested on, with the same seeds.

    Returns a row for each amplitude, source, target, size and subset: amplitude, the columns of
    `lib.studies.linear_probe.probes`, source_accuracy on the source's own task, and of its answers
    to conflicts in its own world shape_bias_of_all and decided_of_all, as of `lib.shape_bias.bias`.
    """
    held = sizes_held(study.targets, study.protocol.dose_sizes)
    return pd.concat(
        [_in_world(study, amplitude, held) for amplitude in study.protocol.amplitudes],
        ignore_index=True,
    )


def _in_world(study, amplitude, held):
    """Return the rows of one amplitude."""
    counts = study.protocol.sources["n_source"], len(study.learned)
    train, test = (microcosm.draw(n, seed, amplitude=amplitude) for seed, n in enumerate(counts))
    place = {"device": study.ladder.device, "cluster": study.ladder.cluster}
    given = {**study.protocol.sources, **place, "rows_file": study.ladder.rows_file}
    ladder = Ladder.of(given, train, test, under=[NATURAL, study.robust], controls=False)
    ladder = replace(ladder, noted={**ladder.noted, "amplitude": amplitude})
    conflicts = drawn(CONFLICTS, 1, amplitude=amplitude)
    asked = ladder.measure(bias, conflicts=conflicts, label=f"bias at {amplitude:g}")
    moved = ladder.measure(
        probes,
        over={"target": study.targets},
        together={"n": held},
        seeds=ladder.subsets(rules()["subsets"]),
        label=f"heads at {amplitude:g}",
    )
    known = ladder.making()[[*NETWORK, "test_accuracy"]]
    known = known.rename(columns={"test_accuracy": "source_accuracy"})
    answers = asked[[*NETWORK, "shape_bias_of_all", "decided_of_all"]]
    of_source = known.merge(answers, on=[*NETWORK])
    return moved.merge(of_source, on=[*NETWORK], how="left").assign(amplitude=amplitude)
