from dataclasses import replace
from pathlib import Path

import pytest

from lib import microcosm
from lib.constraint import NATURAL, Constraint
from lib.cue_conflict import drawn
from lib.images import Images
from lib.runtime import rows
from lib.shape_bias import bias
from lib.studies import Ladder, claims, dose, measurements, pretrained
from lib.studies.linear_probe import probes
from lib.studies.protocols import Protocol
from lib.studies.study import Study

ROBUST = Constraint("l2", 0.25)
SOURCES = {
    "source_data": "microcosm", "n_source": 30, "source_epochs": 1, "attack_steps": 1,
    "l2": [0.25, 0.5], "linf": [], "seeds": 2,
}  # fmt: skip
PROTOCOL = Protocol(
    "microcosm", SOURCES, "all", ("doses",), amplitudes=(0.1, 0.0), dose_sizes=(10,)
)


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "CACHE", tmp_path / "sources")
    monkeypatch.setattr("lib.runtime.parallel.cpu_count", lambda: 1)
    monkeypatch.setattr(dose, "CONFLICTS", 90)
    monkeypatch.setitem(probes.__kwdefaults__, "decays", (1.0, 0.01))
    train, test = (microcosm.draw(n, seed) for n, seed in ((20, 2), (15, 3)))
    ladder = Ladder({}, rows_file=str(tmp_path / "rows.jsonl"))
    return Study(PROTOCOL, ladder, {"digits": (train, test)}, microcosm.draw(20, 1), {})


def test_sources_of_each_amplitude_are_asked_in_their_own_world(study):
    table = dose.doses(study)
    assert table["amplitude"].unique().tolist() == [0.1, 0.0]
    assert table["constraint"].unique().tolist() == [NATURAL, ROBUST]  # the rung alone
    subsets = claims.rules()["subsets"]
    assert len(table) == 2 * 2 * 2 * subsets  # amplitudes, constraints, seeds, subsets
    flat = [microcosm.draw(n, seed, amplitude=0) for seed, n in enumerate((30, 20))]
    again = Ladder.of({**SOURCES, "device": "cpu"}, *flat, under=[ROBUST], seeds=[1])
    network = again.networks[ROBUST, 1]
    mine = table.query("amplitude == 0 and source_seed == 1")
    mine = mine[mine["constraint"] == ROBUST].reset_index(drop=True)
    own = bias(network, drawn(90, 1, amplitude=0))
    for column in ("shape_bias_of_all", "decided_of_all"):
        assert mine[column].tolist() == pytest.approx([own[column]] * subsets)
    assert set(mine["source_accuracy"]) == {again.records[ROBUST, 1]["test_accuracy"]}
    seeds = [1000 + i for i in range(subsets)]
    (expected,) = probes(network, study.targets["digits"], n=[10], seeds=seeds)
    columns = ["subset_seed", "weight_decay", "clean_accuracy"]
    assert mine[columns].to_numpy() == pytest.approx(expected[columns].to_numpy(), abs=0.07)


def test_what_was_measured_at_an_amplitude_is_kept_for_it_alone(study):
    table = dose.doses(study)
    file = Path(study.ladder.rows_file)
    assert set(rows.read(file)["amplitude"]) == {0.0, 0.1}
    before = file.read_bytes()
    again = dose.doses(study)
    assert file.read_bytes() == before  # nothing was measured again
    assert again["clean_accuracy"].tolist() == table["clean_accuracy"].tolist()


def test_doses_are_asked_of_the_drawn_world(study):
    measurements.check(study, ["doses"])
    other = replace(PROTOCOL, sources={**SOURCES, "source_data": "digits"})
    with pytest.raises(ValueError, match="doses is asked of sources that learn the microcosm"):
        measurements.check(replace(study, protocol=other), ["doses"])
    few = Images(study.learned.x[:5], study.learned.y[:5], microcosm.CLASSES)
    with pytest.raises(ValueError, match="few has 5 training images, and the sizes asked"):
        measurements.check(replace(study, targets={"few": (few, few)}), ["doses"])
