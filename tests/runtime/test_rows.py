"""Rows that are kept: found again by what determines them, whole after a kill, never mixed."""

import functools
import json
import math
import os
import re
import resource
import subprocess
import threading
import time
import types
from pathlib import Path

import pandas as pd
import pytest
from generated import examples
from hypothesis import given
from hypothesis import strategies as st
from joblib import cpu_count
from programs import python
from waiting import within

from lib.attacks import L2
from lib.runtime import keeping as kept_file
from lib.runtime import provenance, rows
from lib.runtime.keeping import Keeping
from lib.runtime.parallel import each
from lib.runtime.rows import Job, collect


def started(folder, *lines):
    """Start a process that runs lines, for which this module is `t`, without workers of its own."""
    command = python(__file__, f"folder = pathlib.Path({str(folder)!r})", *lines)
    alone = {**os.environ, "LOKY_MAX_CPU_COUNT": "1"}
    return subprocess.Popen(command, env=alone, stdout=subprocess.PIPE)


def measured(value, folder, half=0.5):
    """Say a number that needs all its digits, and leave a trace of having been called."""
    with (folder / "calls").open("a") as trace:
        trace.write(f"{value}\n")
    return pd.DataFrame({"value": [value, value], "third": [value / 3, half], "none": float("nan")})


def various(folder):
    """Return values of every kind that a row holds."""
    texts = {"text": "ε < 'a', \"b\"\n\u2028c", "nothing": None, "true": True, "huge": 2**70}
    numbers = {"nan": float("nan"), "inf": -math.inf, "tiny": 5e-324, "whole": 3.0, "int": 3}
    return [texts | numbers, {"text": "NaN", "true": False}]


def nothing(folder):
    measured(0, folder)
    return []


def calls_of(folder):
    file = folder / "calls"
    return file.read_text().split() if file.exists() else []


def jobs(folder, values=(1, 2, 3), function=measured):
    return [Job(function, {"value": v, "folder": folder}, {"source": f"s{v}"}) for v in values]


def test_rows_are_those_without_a_file_and_calls_are_made_once(tmp_path):
    file = tmp_path / "rows.jsonl"
    plain = collect(jobs(tmp_path), label="plain")
    assert list(plain["source"]) == ["s1", "s1", "s2", "s2", "s3", "s3"]
    first = collect(jobs(tmp_path), label="first", file=str(file))
    again = collect(jobs(tmp_path), label="again", file=str(file))
    assert sorted(calls_of(tmp_path)) == ["1", "1", "2", "2", "3", "3"]
    for found in (first, again):
        pd.testing.assert_frame_equal(found, plain, check_exact=True)
    more = collect(jobs(tmp_path, (4, 1, 4)), label="more", file=str(file))
    assert calls_of(tmp_path)[6:] == ["4"]  # equal jobs are one call
    assert list(more["value"]) == [4, 4, 1, 1, 4, 4]


def test_values_keep_their_types(tmp_path):
    file = str(tmp_path / "rows.jsonl")
    job = [Job(various, {"folder": tmp_path}, {"seed": 0})]
    plain, first = collect(job, label="x"), collect(job, label="x", file=file)
    again = collect(job, label="x", file=file)
    for found in (first, again):
        pd.testing.assert_frame_equal(found, plain, check_exact=True)
        assert list(map(type, found.iloc[0])) == list(map(type, plain.iloc[0]))
    assert first["text"][1] == "NaN" and first["seed"].dtype == int and first["tiny"][0] > 0


def test_a_row_is_a_dict_and_arguments_need_no_names(tmp_path):
    one = collect([Job(dict, {"a": 1}, {"b": 2})], label="x")
    assert one.to_dict("records") == [{"b": 2, "a": 1}]
    two = collect([Job(measured, {"half": 1.0}, {}, (6, tmp_path))], label="x")
    assert list(two["third"]) == [2.0, 1.0]


def test_a_call_without_rows_does_no_harm(tmp_path):
    file = str(tmp_path / "rows.jsonl")
    some = [Job(nothing, {"folder": tmp_path}, {}), *jobs(tmp_path, (1,))]
    for _ in range(2):
        assert list(collect(some, label="x", file=file)["value"]) == [1, 1]
    assert collect(some[:1], label="x", file=file).empty


def test_every_row_says_what_it_was_measured_on(tmp_path):
    file = tmp_path / "rows.jsonl"
    collect(jobs(tmp_path), label="an experiment", file=str(file), noted={"source_data": "drawn"})
    found = rows.read(file)
    assert set(found["source_data"]) == {"drawn"} and found["call"].nunique() == 3
    assert set(found["experiment"]) == {"an experiment"}
    for column, value in provenance.versions().items():
        assert set(found[column]) == {value}
    assert {"date", "commit", "device", "code", "source", "third"} <= set(found.columns)
    assert sorted(found["value"]) == [1, 1, 2, 2, 3, 3]
    assert list(pd.read_json(file, lines=True)["value"]) == list(found["value"])


def test_a_call_that_a_kill_cut_anywhere_is_made_again(tmp_path):
    file = tmp_path / "rows.jsonl"
    plain = collect(jobs(tmp_path, (1, 2)), label="x")
    for value in (1, 2):  # in this order
        collect(jobs(tmp_path, (value,)), label="x", file=str(file))
    whole = file.read_bytes()
    second = whole.index(whole.splitlines(keepends=True)[2])  # where the second call begins
    for cut in sorted({second + 1, second + 2, second + 3, len(whole) - 30, len(whole) - 2}):
        file.write_bytes(whole[:cut])
        before = len(calls_of(tmp_path))
        assert set(rows.read(file)["source"]) == {"s1"}
        found = collect(jobs(tmp_path, (1, 2)), label="x", file=str(file))
        assert calls_of(tmp_path)[before:] == ["2"]
        pd.testing.assert_frame_equal(found, plain, check_exact=True)
        assert len(rows.read(file)) == 4
    # Only the end of the last line is missing: nothing is lost, and the next call begins a line.
    file.write_bytes(whole[:-1])
    assert len(collect(jobs(tmp_path, (1, 2, 3)), label="x", file=str(file))) == 6
    assert calls_of(tmp_path)[-1] == "3" and len(rows.read(file)) == 6


def test_jobs_that_share_a_file_lose_nothing(tmp_path):
    file = tmp_path / "rows.jsonl"
    keeping = Keeping(file, 0, "a run", {})
    calls = [
        {"job": job, "marks": [(str(i // 2), "c")], "keeping": keeping}
        for i, job in enumerate(jobs(tmp_path, [v // 2 for v in range(24)]))
    ]
    each(rows._run_and_keep, calls, label="jobs", workers=max(2, cpu_count()))
    assert len(calls_of(tmp_path)) == 24  # two processes made each call; one of them was faster
    assert sorted(rows.read(file)["value"]) == sorted([*range(12)] * 2)


def test_of_two_that_look_at_the_end_at_once_one_appends(tmp_path, monkeypatch):
    file, search = tmp_path / "rows.jsonl", kept_file.OF_LINE.search
    Keeping(file, 0, "before", {}).keep(("0", "c"), [{"value": 0}])

    def keep(run):
        Keeping(file, 0, run, {}).keep(("1", "c"), [{"value": 1}])

    other = threading.Thread(target=keep, args=["other"])

    def slow(line):
        if other.ident is None:
            other.start()
            other.join(0.5)  # unless it waits
        return search(line)

    monkeypatch.setattr(kept_file, "OF_LINE", types.SimpleNamespace(search=slow))
    keep("first")
    other.join()
    assert list(rows.read(file)["value"]) == [0, 1] and len(file.read_text().splitlines()) == 2


def test_what_was_cut_off_the_file_is_appended_again(tmp_path):
    file = tmp_path / "rows.jsonl"
    keeping = Keeping(file, 0, "a run", {})
    for value in (1, 2):
        keeping.keep((str(value), "c"), [{"value": value}])
    file.write_text("")
    keeping.keep(("1", "c"), [{"value": 1}])
    assert list(rows.read(file)["value"]) == [1]


def meet(folder, count):
    """Wait until so many processes have come here."""
    (folder / f"here-{os.getpid()}").touch()
    assert within(120, lambda: len(list(folder.glob("here-*"))) == count)


@pytest.mark.parametrize("count", [2, pytest.param(6, marks=pytest.mark.long)])
def test_runs_at_once_write_each_call_once(tmp_path, count):
    file = tmp_path / "rows.jsonl"
    lines = (
        f"t.meet(folder, {count})",
        f"found = t.collect(t.jobs(folder, range(6)), label='x', file={str(file)!r})",
        "print(list(found['value']))",
    )
    runs = [started(tmp_path, *lines) for _ in range(count)]
    said = {run.communicate(timeout=240)[0].decode().strip() for run in runs}
    assert said == {str([v for v in range(6) for _ in "ab"])}
    assert len(file.read_text().splitlines()) == 12


def test_a_call_looks_at_the_new_end_of_the_file_alone(tmp_path):
    file = tmp_path / "rows.jsonl"
    collect(jobs(tmp_path), label="x", file=str(file))
    before, (job,) = file.stat().st_size, jobs(tmp_path, (9,))

    def keep(start):
        rows._run_and_keep(job, [("9", "c")], Keeping(file, start, "a run", {}))
        return file.read_text().count('"call": "9"')

    assert keep(before) == 2
    assert keep(before) == 2  # another process was faster
    assert keep(file.stat().st_size) == 4  # nothing before it is read
    assert sorted(rows.read(file)["value"]) == [1, 1, 2, 2, 3, 3, 9, 9]
    # Half a call of another that was killed counts for nothing.
    half = file.read_text().splitlines(keepends=True)[:7]
    file.write_text("".join(half)[:-5])
    assert keep(before) == 3 and list(rows.read(file)["value"])[6:] == [9, 9]


def each_size(folder, n, lift=0):
    """Yield rows of each size, and leave a trace of the sizes that were asked together."""
    with (folder / "calls").open("a") as trace:
        trace.write(f"{','.join(map(str, n))}\n")
    for size in n:
        if size == 3 and not (folder / "released").exists():
            (folder / "waiting").touch()
            time.sleep(120)
        yield pd.DataFrame({"n_train": [size, size], "third": [size / 3 + lift, 0.5]})


def of_sizes(folder, sizes, **more):
    call = {"folder": folder, "n": list(sizes), **more}
    return Job(each_size, call, {"source": "s"}, together="n")


def test_each_value_is_kept_by_itself_and_a_call_takes_those_that_are_left(tmp_path):
    (tmp_path / "released").touch()
    file = str(tmp_path / "rows.jsonl")
    plain = collect([of_sizes(tmp_path, [1, 2, 3, 4])], label="plain")
    assert list(plain["n_train"]) == [1, 1, 2, 2, 3, 3, 4, 4]
    some = collect([of_sizes(tmp_path, [2, 4])], label="some", file=file)
    assert list(some["n_train"]) == [2, 2, 4, 4]
    for _ in range(2):
        found = collect([of_sizes(tmp_path, [1, 2, 3, 4])], label="all", file=file)
        pd.testing.assert_frame_equal(found, plain, check_exact=True)
    # The call of one alone is the same, and equal ones of two jobs are made once.
    two = [of_sizes(tmp_path, [4]), of_sizes(tmp_path, [5, 1]), of_sizes(tmp_path, [5, 6])]
    assert list(collect(two, label="two", file=file)["n_train"][::2]) == [4, 5, 1, 5, 6]
    collect([of_sizes(tmp_path, [1], lift=1)], label="other", file=file)
    *before, one, other, last = calls_of(tmp_path)
    assert before == ["1,2,3,4", "2,4", "1,3"] and last == "1"
    assert {one, other} == {"5", "6"}  # of two jobs, which run at once
    assert rows.read(file)["call"].nunique() == 7 and set(rows.read(file)["rows_of_call"]) == {2}


def a_call_and_sizes(folder):
    return [*jobs(folder, (7,)), of_sizes(folder, [1, 2, 3, 4])]


def test_a_kill_loses_neither_a_finished_call_nor_a_finished_size(tmp_path):
    file = tmp_path / "rows.jsonl"
    line = f"t.collect(t.a_call_and_sizes(folder), label='x', file={str(file)!r})"
    process = started(tmp_path, line)
    assert within(120, (tmp_path / "waiting").exists)
    process.kill()
    process.wait()
    kept = rows.read(file)
    assert list(kept["value"])[:2] == [7, 7] and list(kept["n_train"])[2:] == [1, 1, 2, 2]
    (tmp_path / "released").touch()
    found = collect(a_call_and_sizes(tmp_path), label="x", file=str(file))
    assert calls_of(tmp_path) == ["7", "1,2,3,4", "3,4"]
    plain = collect(a_call_and_sizes(tmp_path), label="plain")
    pd.testing.assert_frame_equal(found, plain, check_exact=True)
    assert len(rows.read(file)) == 10


def test_of_several_values_an_error_says_of_which_columns(tmp_path):
    with pytest.raises(ValueError, match=r"no \(source s\)"):
        collect([Job(fails_at_two, {"n": [1, 2]}, {"source": "s"}, together="n")], label="x")


def fails_at_two(n):
    yield {"n": 1}
    raise ValueError("no")


def test_what_a_run_appends_is_looked_at_once(tmp_path, monkeypatch):
    file, looked = tmp_path / "rows.jsonl", []
    keeping = Keeping(file, 0, "a run", {})
    search = kept_file.OF_LINE.search
    monkeypatch.setattr(
        kept_file, "OF_LINE", types.SimpleNamespace(search=lambda x: looked.append(x) or search(x))
    )
    for value in range(20):
        keeping.keep((str(value), "c"), [{"value": value}])
    assert len(looked) == 19 and len(rows.read(file)) == 20


def test_a_row_that_was_taken_out_is_measured_again_with_its_call(tmp_path):
    file = tmp_path / "rows.jsonl"
    plain = collect(jobs(tmp_path), label="x", file=str(file))
    whole = file.read_text().splitlines(keepends=True)
    for gone in range(len(whole)):
        file.write_text("".join(whole[:gone] + whole[gone + 1 :]))
        calls = len(calls_of(tmp_path))
        found = collect(jobs(tmp_path), label="x", file=str(file))
        pd.testing.assert_frame_equal(found, plain, check_exact=True)
        assert len(calls_of(tmp_path)) == calls + 1


def test_of_files_put_together_a_call_that_is_whole_in_one_counts(tmp_path, monkeypatch):
    plain = collect(jobs(tmp_path, (1, 2)), label="x")
    for day in ("first", "second"):
        monkeypatch.setattr(rows, "_here", lambda device, day=day: {"day": day})
        for value in (1, 2):
            collect(jobs(tmp_path, (value,)), label="x", file=str(tmp_path / f"{day}.jsonl"))
    one, two = ((tmp_path / f"{day}.jsonl").read_text() for day in ("first", "second"))
    file, lines = tmp_path / "all.jsonl", two.splitlines(keepends=True)
    for cut in (lines[0], "".join(lines[:3]), "".join(lines[2:3]), two[:-9], two[: len(two) // 3]):
        for text in (one + cut, one[:-9] + "\n" + cut + "\n" + one, cut + "\n" + one, cut + one):
            file.write_text(text)
            assert len(rows.read(file)) == 4
            before = len(calls_of(tmp_path))
            found = collect(jobs(tmp_path, (1, 2)), label="x", file=str(rows.check(str(file))))
            pd.testing.assert_frame_equal(found, plain, check_exact=True)
            assert len(calls_of(tmp_path)) == before and file.read_text() == text


def test_a_line_that_is_cut_anywhere_hides_no_row_behind_it(tmp_path):
    """Rows may hold mappings, whose end is the end of no row."""
    lines = b"".join(real_rows(tmp_path)).decode().splitlines(keepends=True)
    file = tmp_path / "all.jsonl"
    for at in range(2, len(lines[0])):
        file.write_text(lines[0][:at] + "".join(lines))
        assert len(rows.read(file)) == 5, at
        file.write_text(lines[0][:at] + "\n" + "".join(lines))
        assert len(rows.read(file)) == 5, at


def test_a_call_that_was_cut_twice_is_made_again(tmp_path):
    file = tmp_path / "rows.jsonl"
    plain = collect(jobs(tmp_path, (1,)), label="x", file=str(file))
    first, last = file.read_text().splitlines(keepends=True)
    for text in (first * 2, first + last[:-9] + "\n" + first, last * 3):
        file.write_text(text)
        before = len(calls_of(tmp_path))
        assert rows.read(file).empty
        found = collect(jobs(tmp_path, (1,)), label="x", file=str(file))
        pd.testing.assert_frame_equal(found, plain, check_exact=True)
        assert len(calls_of(tmp_path)) == before + 1 and len(rows.read(file)) == 2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"value": 2', '"value": 20'),
        ('"third": 0.6666666666666666', '"third": 0.6666666666666667'),
        ('"source": "s2"', '"source": "s1"'),
        ('"rows_of_call": 2', '"rows_of_call": 1'),
        ('"none": NaN', '"none": 0.5'),
    ],
)
def test_a_cell_that_was_changed_is_refused_and_the_file_left_as_it_is(tmp_path, old, new):
    file = tmp_path / "rows.jsonl"
    collect(jobs(tmp_path), label="x", file=str(file))
    text = file.read_text()
    assert old in text
    at = text.rindex(old)
    file.write_text(text[:at] + new + text[at + len(old) :])
    before = file.read_bytes()
    for use in (rows.check, rows.read, lambda f: collect(jobs(tmp_path), label="x", file=f)):
        with pytest.raises(ValueError, match="not those that were measured; take all of them out"):
            use(str(file))
    assert file.read_bytes() == before and len(calls_of(tmp_path)) == 3


def test_rows_of_before_there_were_checksums_are_taken(tmp_path):
    file = tmp_path / "rows.jsonl"
    plain = collect(jobs(tmp_path), label="x", file=str(file))
    file.write_text(re.sub(', "checksum": "[0-9a-f]{16}"', "", file.read_text()))
    found = collect(jobs(tmp_path), label="x", file=str(file))
    pd.testing.assert_frame_equal(found, plain, check_exact=True)
    assert len(calls_of(tmp_path)) == 3


def test_a_link_stays_a_link_and_permissions_stay(tmp_path):
    (tmp_path / "far").mkdir()
    there, link = tmp_path / "far" / "all.jsonl", tmp_path / "rows.jsonl"
    link.symlink_to(there)
    assert rows.check(str(link)) == there.resolve()
    collect(jobs(tmp_path, (1,)), label="x", file=str(link))
    there.chmod(0o664)
    collect(jobs(tmp_path, (2,)), label="x", file=str(link))
    assert link.is_symlink() and there.stat().st_mode & 0o777 == 0o664
    assert sorted(rows.read(there)["value"]) == [1, 1, 2, 2]
    # Both names have one lock.
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_a_full_disk_is_one_line_and_what_was_there_is_kept(tmp_path):
    """As on a full disk: for a moment this process may write no larger files."""
    file, (job,) = tmp_path / "rows.jsonl", jobs(tmp_path, (2,))
    collect(jobs(tmp_path, (1,)), label="x", file=str(file))
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 9, usual[1]))
    try:
        with pytest.raises(OSError, match="make room and start again") as late:
            rows._run_and_keep(job, [("2", "c")], Keeping(file, 0, "a run", {}))
        with pytest.raises(OSError, match="make this one writable") as early:
            rows.check(str(file))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert all(repr(str(file)) in str(caught.value) for caught in (late, early))
    found = collect(jobs(tmp_path, (1, 2)), label="x", file=str(file))
    assert list(found["value"]) == [1, 1, 2, 2] and calls_of(tmp_path) == ["1", "2", "2"]


def test_rows_of_other_code_are_not_mixed_in(tmp_path, monkeypatch):
    file = tmp_path / "rows.jsonl"
    monkeypatch.setattr(rows, "_code", lambda function: "here 1")
    collect(jobs(tmp_path), label="rows", file=str(file))
    monkeypatch.setattr(rows, "_code", lambda function: "elsewhere 2")  # may share the file
    assert len(collect(jobs(tmp_path), label="rows", file=str(file))) == 6
    monkeypatch.setattr(rows, "_code", lambda function: "here 3")
    before = file.read_bytes()
    with pytest.raises(ValueError, match=r"other code.*name another"):
        collect(jobs(tmp_path), label="rows", file=str(file))
    assert file.read_bytes() == before and len(calls_of(tmp_path)) == 6


def test_the_code_is_that_of_the_functions_module_and_of_all_it_imports():
    module, code = rows._code(functools.partial(functools.partial(L2), 0.5)).split(" ")
    assert f"lib.{module}" == L2.__module__ and code == rows.fingerprint.code(module)[:12]
    assert rows._code(measured) == __name__


@pytest.mark.parametrize(
    "content",
    [
        "a,b\n1,2\n",
        '{"a": 1}\n',
        "[1, 2]\n",
        '"call"\n',
        "7\n",
        '{"call": "1", "code": "x"}\n',
        '{"call": "1", "code": 7, "rows_of_call": 1}\n',
        '{"call": "1", "code": "x", "rows_of_call": "1"}\n',
        "patient,age\n17,60\n",
        "\x00\x01\n",
        "{not json}\n",
        "call code rows_of_call\n",
        "null\n",
        "[" * 5000,
        '{"a": ' + "[" * 5000,
        f'{{"a": {"1" * 5000}}}',
    ],
)
def test_a_file_of_something_else_is_left_alone(tmp_path, content):
    file = tmp_path / "rows.jsonl"
    file.write_text(content)
    for use in (rows.check, rows.read, lambda f: collect(jobs(tmp_path), label="x", file=f)):
        with pytest.raises(ValueError, match="no rows of this book"):
            use(str(file))
    assert file.read_text() == content and not calls_of(tmp_path)


@pytest.mark.parametrize("name", ["rows.txt", "rows.csv", "no/rows.jsonl", "folder.jsonl"])
def test_a_file_that_cannot_take_rows(tmp_path, name):
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "rows.csv").write_text("a,b\n")
    for use in (rows.check, lambda f: collect(jobs(tmp_path), label="x", file=f)):
        with pytest.raises(ValueError, match=r"name a \.jsonl file"):
            use(str(tmp_path / name))
    assert not calls_of(tmp_path) and (tmp_path / "rows.csv").read_text() == "a,b\n"


def test_what_is_no_plain_file_or_cannot_be_written_is_told_at_once(tmp_path):
    os.mkfifo(tmp_path / "rows.jsonl")
    (tmp_path / "full.jsonl").symlink_to("/dev/full")
    for name in ("rows.jsonl", "full.jsonl"):
        with pytest.raises(ValueError, match=r"name a \.jsonl file"):
            rows.check(str(tmp_path / name))
    if Path("/proc/self").exists():  # where nobody can write, not even root
        with pytest.raises(OSError, match=r"/proc/rows\.jsonl"):
            rows.check("/proc/rows.jsonl")


def test_a_file_that_is_there_to_be_read_alone_is_told_at_once(tmp_path, monkeypatch):
    """Permissions would not keep root from writing."""
    file, usual = tmp_path / "rows.jsonl", Path.open
    file.touch()

    def opened(path, mode="r", *more, **named):
        if path.name == file.name and set(mode) & set("wax+"):
            raise PermissionError(13, "Permission denied", str(path))
        return usual(path, mode, *more, **named)

    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(OSError, match=r"Permission denied.*rows\.jsonl"):
        rows.check(str(file))


def test_a_new_or_an_empty_file_can_take_rows(tmp_path):
    (tmp_path / "empty.jsonl").touch()
    for name in ("empty.jsonl", "new.jsonl"):
        assert rows.check(str(tmp_path / name)) == tmp_path / name
        assert rows.read(tmp_path / name).empty


def test_a_line_is_a_row_as_it_stands(tmp_path):
    file = tmp_path / "rows.jsonl"
    collect(jobs(tmp_path, (1,)), label="ε", file=str(file))
    first = json.loads(file.read_text(encoding="utf-8").splitlines()[0])
    assert first["value"] == 1 and first["rows_of_call"] == 2 and math.isnan(first["none"])
    assert first["code"] == __name__ and first["experiment"] == "ε"


# Generated.

PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6), st.just("a\nb")
)
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)
NAMES = st.sampled_from(["call", "code", "rows_of_call", "checksum", "value", "new"])
PIECES = st.one_of(
    st.binary(max_size=6),
    st.sampled_from([b"\n", b"{", b'{"', b'"', b"}", b"[" * 2000, b"9" * 5000, b"\0", b"NaN"]),
)


@functools.cache
def real_rows(folder):
    """The lines of two calls of two rows, and of one of one."""
    file = folder / "real.jsonl"
    keeping = Keeping(file, 0, "a run", {"day": "first"})
    for call, count in (("1", 2), ("2", 2), ("3", 1)):
        some = [{"value": n / 3, "text": f"{{{n}", "within": {"a": n}} for n in range(count)]
        keeping.keep((call, "c"), some)
    return file.read_bytes().splitlines(keepends=True)


def changed_rows(lines, data):
    """Mix lines up: repeated, left out, cut short, with other values or bytes in them."""
    content = b""
    for line in data.draw(st.lists(st.sampled_from(lines), max_size=8)):
        kind = data.draw(st.sampled_from(("whole", "whole", "cut", "value", "bytes")))
        at = data.draw(st.integers(0, len(line)))
        if kind == "cut":
            line = line[:at]
        elif kind == "value":
            row = json.loads(line) | {data.draw(NAMES): data.draw(VALUES)}
            line = json.dumps(row).encode() + b"\n"
        elif kind == "bytes":
            line = line[:at] + data.draw(PIECES) + line[at + data.draw(st.integers(0, 3)) :]
        content += line
    return content


def rows_are_read_or_refused(folder, name, data):
    """Whatever a file holds, it is read as rows that were measured, or refused in one line."""
    lines, path = real_rows(folder), folder / name
    of_any = st.one_of(st.binary(max_size=60), st.lists(PIECES, max_size=6).map(b"".join))
    content = changed_rows(lines, data) if data.draw(st.booleans()) else data.draw(of_any)
    path.write_bytes(content)
    for use in (rows.check, rows.read):
        try:
            found = use(str(path))
        except ValueError as error:
            assert str(path) in str(error) and len(str(error).splitlines()) == 1
        else:
            assert isinstance(found, Path | pd.DataFrame)
    assert path.read_bytes() == content


@examples(60)
@given(data=st.data())
def test_files_of_rows(tmp_path_factory, data):
    rows_are_read_or_refused(tmp_path_factory.getbasetemp(), "some.jsonl", data)


@pytest.mark.long
@examples(8000)
@given(data=st.data())
def test_many_files_of_rows(tmp_path_factory, data):
    rows_are_read_or_refused(tmp_path_factory.getbasetemp(), "many.jsonl", data)
