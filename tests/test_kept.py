"""Rows that are kept: found again by what determines them, whole after a kill, never mixed."""

import functools
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import torch

from lib import kept, microcosm, models, provenance
from lib.attacks import L2
from lib.parallel import each


def measured(value, folder, half=0.5):
    """Say a number that needs all its digits, and leave a trace of having been called."""
    with (folder / "calls").open("a") as trace:
        trace.write(f"{value}\n")
    return pd.DataFrame({"value": [value, value], "third": [value / 3, half], "none": float("nan")})


def slow(value, folder):
    if value == 2:
        (folder / "waiting").touch()
        time.sleep(120)
    return measured(value, folder)


def calls_of(folder):
    file = folder / "calls"
    return file.read_text().split() if file.exists() else []


def plan(folder, values=(1, 2, 3)):
    return [({"source": f"s{v}"}, {"value": v, "folder": folder}) for v in values]


def test_rows_are_those_without_a_file_and_calls_are_made_once(tmp_path):
    file = tmp_path / "rows.csv"
    plain = kept.collect(measured, plan(tmp_path), label="plain")
    first = kept.collect(measured, plan(tmp_path), label="first", file=str(file))
    again = kept.collect(measured, plan(tmp_path), label="again", file=str(file))
    assert sorted(calls_of(tmp_path)) == ["1", "1", "2", "2", "3", "3"]
    columns = ["value", "third", "source"]
    for found in (first, again):
        pd.testing.assert_frame_equal(found[columns], plain[columns], check_exact=True)
        assert found["value"].dtype == plain["value"].dtype
    more = kept.collect(measured, plan(tmp_path, (4, 1)), label="more", file=str(file))
    assert calls_of(tmp_path)[6:] == ["4"] and list(more["value"]) == [4, 4, 1, 1]


def test_every_row_says_what_it_was_measured_on(tmp_path):
    file = tmp_path / "rows.csv"
    noted = {"source_data": "microcosm"}
    kept.collect(measured, plan(tmp_path), label="rows", file=str(file), noted=noted)
    rows = pd.read_csv(file)
    assert set(rows["source_data"]) == {"microcosm"} and rows["call"].nunique() == 3
    for column, value in provenance.versions().items():
        assert set(rows[column].astype(str)) == {value}
    assert {"date", "commit", "device", "code"} <= set(rows.columns)
    parts = {"one": rows[["value"]], "other": rows[["third"]]}
    kept.write(parts, tmp_path / "once.csv", noted={"n": 7})
    once = pd.read_csv(tmp_path / "once.csv")
    one = once[once["experiment"] == "one"]
    assert list(one["value"]) == list(rows["value"]) and set(once["n"]) == {7}
    assert len(once) == 2 * len(rows) and one["third"].isna().all()
    assert {"date", "commit", "torch"} <= set(once.columns)


def test_after_a_kill_the_rows_of_finished_calls_are_there(tmp_path):
    file = tmp_path / "rows.csv"
    code = (
        "import pathlib, sys; sys.path.insert(0, 'tests')\n"
        "import test_kept as t; from lib import kept\n"
        f"folder = pathlib.Path({str(tmp_path)!r})\n"
        f"kept.collect(t.slow, t.plan(folder, (1, 2, 3)), label='x', file={str(file)!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    end = time.monotonic() + 90
    while time.monotonic() < end and not ((tmp_path / "waiting").exists() and file.exists()):
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert "1" in calls_of(tmp_path) and set(pd.read_csv(file)["value"]) >= {1}


def test_jobs_that_share_a_file_lose_nothing(tmp_path):
    file = tmp_path / "rows.csv"
    calls = [
        {
            "function": measured,
            "columns": {"source": str(v)},
            "call": {"value": v, "folder": tmp_path},
            "file": file,
            "noted": {"call": str(v), "code": "c"},
        }
        for v in range(12)
    ]
    each(kept._measured, calls, label="jobs", workers=3)
    assert sorted(pd.read_csv(file)["value"]) == sorted([*range(12)] * 2)


def test_rows_of_other_code_are_not_mixed_in(tmp_path, monkeypatch):
    file = tmp_path / "rows.csv"
    kept.collect(measured, plan(tmp_path), label="rows", file=str(file))
    monkeypatch.setattr(kept, "_code", lambda function: "another")
    with pytest.raises(ValueError, match=r"other code.*name another"):
        kept.collect(measured, plan(tmp_path), label="rows", file=str(file))
    file.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="no rows of this book"):
        kept.collect(measured, plan(tmp_path), label="rows", file=str(file))


@pytest.mark.parametrize("name", ["rows.txt", "no/rows.csv", "folder.csv"])
def test_a_file_that_cannot_take_rows(tmp_path, name):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ValueError, match=r"name a \.csv file"):
        kept.collect(measured, plan(tmp_path), label="rows", file=str(tmp_path / name))
    with pytest.raises(ValueError, match=r"name a \.csv file"):
        kept.known("rows_file", str(tmp_path / name))
    assert not calls_of(tmp_path)


def test_the_parameter():
    kept.known("rows_file", "")
    with pytest.raises(ValueError, match="no text"):
        kept.known("rows_file", 3)


def test_what_determines_a_result_tells_it_from_others():
    told = kept.identity
    net, images = models.build("small_resnet", 10, seed=0), microcosm.draw(4, 0)
    same = models.build("small_resnet", 10, seed=0)
    assert told(net) == told(same) and told(images) == told(microcosm.draw(4, 0))
    assert told(models.build("small_resnet", 10, seed=1)) != told(net)
    same.normalise.set(0.4, 0.25)  # not in the state dict, yet it decides what comes out
    assert told(same) != told(net)
    assert told(images) != told(microcosm.draw(4, 1))
    assert told({"n": 20, "seeds": range(2)}) == told({"n": 20, "seeds": range(0, 2)})
    assert told({"n": 20}) != told({"n": 40}) and told([1, 2]) != told([2, 1])
    attack = functools.partial(L2, 0.5)
    assert told(attack) != told(functools.partial(L2, 0.25)) and told(L2(0.5)) != told(L2(0.25))
    assert told(torch.ones(2)) != told(torch.ones(2, dtype=torch.float64))
    assert told(torch.ones(2, dtype=torch.bfloat16)) == told(torch.ones(2, dtype=torch.bfloat16))


def test_what_cannot_be_told_is_refused():
    for value in (object(), lambda: 0, {"x": os}):
        with pytest.raises(TypeError, match="cannot be told"):
            kept.identity(value)
