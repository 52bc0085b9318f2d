import pandas as pd
import pytest
import torch

from lib import datasets, microcosm
from lib.constraint import NATURAL, Constraint
from lib.cue_conflict import drawn
from lib.runtime import rows
from lib.shape_bias import bias
from lib.studies import Ladder, dose, pretrained
from lib.transfer import transfer

GIVEN = {"l2": [0.5], "linf": [], "seeds": 2, "source_epochs": 1, "attack_steps": 1}
GIVEN |= {"device": "cpu"}
ROBUST = Constraint("l2", 0.5)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "CACHE", tmp_path / "sources")
    monkeypatch.setattr("lib.runtime.parallel.cpu_count", lambda: 1)


def test_sources_of_other_amplitudes_are_asked_in_their_own_world(tmp_path):
    train, test = microcosm.draw(30, 0), microcosm.draw(20, 1)
    file = tmp_path / "rows.jsonl"
    ladder = Ladder.of(GIVEN | {"rows_file": str(file)}, train, test, controls=False)
    few = ladder.only(seeds=[1])
    worlds = dose.ladders(GIVEN, few, [0.1, 0.0], train, test)
    assert list(worlds) == [0.0, microcosm.AMPLITUDE, 0.1]
    assert worlds[microcosm.AMPLITUDE].networks == few.networks
    flat = [microcosm.draw(len(part), i, amplitude=0) for i, part in enumerate((train, test))]
    again = Ladder.of(GIVEN, *flat, under=[ROBUST], seeds=[1], controls=False)
    network = worlds[0.0].networks[ROBUST, 1]
    for name, value in again.networks[ROBUST, 1].state_dict().items():
        assert torch.equal(network.state_dict()[name], value)

    worlds = {amplitude: worlds[amplitude] for amplitude in (0.0, 0.1)}
    faces = datasets.pair("faces")
    biases, transfers = dose.measure(worlds, faces, subsets=2, n=8, epochs=1)
    assert biases["amplitude"].tolist() == [0, 0, 0.1, 0.1]
    assert biases["constraint"].tolist() == [NATURAL, ROBUST] * 2
    own = bias(network, drawn(600, 1, amplitude=0))
    assert biases["shape_bias_of_all"].iloc[1] == own["shape_bias_of_all"]
    assert transfers["subset_seed"].tolist() == [1000, 1001] * 4
    expected = transfer(network, faces, n=8, epochs=1, seeds=[1000, 1001])
    mine = transfers[(transfers["constraint"] == ROBUST) & (transfers["amplitude"] == 0)]
    assert mine["clean_accuracy"].tolist() == expected["clean_accuracy"].tolist()
    noted = rows.read(file)
    assert noted.groupby("experiment")["amplitude"].nunique().tolist() == [2, 2]


def test_without_worlds_nothing_is_measured():
    found = dose.measure({}, datasets.pair("faces"), subsets=1, n=8)
    assert all(isinstance(part, pd.DataFrame) and part.empty for part in found)
