import os
import re
import signal
import subprocess
import sys
import time
import types

import psutil
import pytest
import torch
from programs import python
from waiting import within

from lib.runtime import parallel
from lib.runtime.parallel import each


def where(value, **_):
    """Say in which process, with how many threads, a value was doubled."""
    return 2 * value, os.getpid(), torch.get_num_threads()


def fails(value):
    raise ValueError(f"no {value}")


calls = [{"value": v} for v in range(5)]


def test_several_processes_of_one_thread_in_the_order_of_the_calls():
    found = each(where, iter(calls), label="doubled", workers=2)
    assert [value for value, *_ in found] == [0, 2, 4, 6, 8]
    assert os.getpid() not in {process for _, process, _ in found}
    assert {threads for *_, threads in found} == {1}
    with pytest.raises(ValueError, match=r"no \d"):
        each(fails, calls, label="failed", workers=2)


@pytest.mark.parametrize("given", [calls, calls[:1]])
def test_a_single_worker_is_this_process_and_leaves_its_threads_alone(given):
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        found = each(where, given, label="doubled", workers=1)
        assert {process for _, process, _ in found} == {os.getpid()}
        assert {count for *_, count in found} == {1}
        with pytest.raises(ValueError, match="no 0"):
            each(fails, given, label="failed", workers=1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("device", ["cuda", torch.device("cuda", 0), "mps"])
def test_on_another_device_one_after_another_here(device):
    threads = torch.get_num_threads()
    found = each(where, calls, label="doubled", device=device, workers=4)
    assert found == [(2 * v, os.getpid(), threads) for v in range(5)]


def test_no_calls():
    assert each(where, [], label="nothing") == []


def test_progress_in_a_notebook_is_one_display(monkeypatch):
    said = []

    class Line:
        def update(self, data, **_):
            said.append(data["text/plain"])

    def display(data, **options):
        assert options == {"raw": True, "display_id": True}
        said.append(data["text/plain"])
        return Line()

    shell = types.SimpleNamespace(kernel="a kernel")
    monkeypatch.setattr(parallel, "get_ipython", lambda: shell)
    monkeypatch.setattr(parallel, "display", display)
    each(where, calls[:2], label="doubled", workers=1)
    assert said == ["doubled: 0 of 2", "doubled: 1 of 2", "doubled: 2 of 2"]
    assert each(where, [], label="nothing") == [] and len(said) == 3


def test_no_word_of_what_is_quick_where_nobody_looks(capsys):
    import ipykernel  # noqa: F401  that it is imported does not make a notebook

    each(where, calls[:2], label="doubled", workers=1)
    assert capsys.readouterr() == ("", "")


def test_a_file_gets_lines_with_the_time_that_is_left(capsys, monkeypatch):
    monkeypatch.setattr(parallel, "SECONDS", 0.05)
    with parallel.bar(4, "fine-tuning, epochs") as bar:
        for _ in range(4):
            time.sleep(0.06)
            bar.update()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 3 and "\r" not in "".join(lines)
    assert all(re.fullmatch(r"fine-tuning, epochs: \d of 4, [\d?:]+ left", line) for line in lines)
    assert lines[-1] == "fine-tuning, epochs: 4 of 4, 00:00 left"
    results = (time.sleep(0.06) or i for i in range(4))
    assert list(parallel.progress(results, 4, "trained")) == [0, 1, 2, 3]
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "trained: 4 of 4, 00:00 left" and "trained: 0 of 4" not in lines[0]


def test_a_file_gets_no_line_for_every_step(capsys):
    with parallel.bar(25, "steps") as bar:
        for _ in range(25):
            time.sleep(0.02)
            bar.update()
    assert len(capsys.readouterr().err.splitlines()) <= 3


def test_on_a_terminal_there_is_one_bar(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert list(parallel.progress(range(3), 3, "steps")) == [0, 1, 2]
    written = capsys.readouterr().err
    assert "\r" in written and "3/3" in written


def sleeps(folder):
    (folder / str(os.getpid())).touch()
    time.sleep(120)


def started(folder, calls):
    """Start a process whose two workers sleep."""
    return psutil.Popen(
        python(
            __file__,
            f"calls = [{{'folder': pathlib.Path({str(folder)!r})}}] * {calls}",
            "t.each(t.sleeps, calls, label='x', workers=2)",
        ),
        stderr=subprocess.DEVNULL,
    )


def test_workers_end_when_their_parent_is_killed(tmp_path):
    parent = started(tmp_path, calls=2)
    assert within(120, lambda: len(list(tmp_path.iterdir())) == 2)
    workers = [int(file.name) for file in tmp_path.iterdir()]
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert within(60, lambda: not any(map(alive, workers)))


def test_workers_whose_parent_is_killed_before_they_can_ask_do_not_go_on(tmp_path):
    parent = started(tmp_path, calls=4)
    assert within(120, lambda: len(parent.children()) >= 2)  # they have not read a call yet
    parent.kill()
    parent.wait()
    # One of which that is certain, and which takes as long to begin as they do.
    call = f"{{'folder': pathlib.Path({str(tmp_path)!r})}}"
    alone = python(
        __file__,
        "import multiprocessing; multiprocessing.current_process().name = 'LokyProcess-1'",
        f"t.parallel._with_one_thread(-1, t.sleeps, {call})",
    )
    assert subprocess.run(alone, timeout=120).returncode == 1
    # Who has got a call begins it; who has none waits for one in vain, and computes nothing.
    assert within(60, lambda: not any(alive(int(file.name)) for file in tmp_path.iterdir()))


def alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
