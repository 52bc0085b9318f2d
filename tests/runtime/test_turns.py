import contextlib
import threading

import pytest
from filelock import FileLock

from lib.runtime import parallel, turns


@pytest.mark.parametrize("device", ["cpu", "elsewhere"])
def test_jobs_are_begun_within_a_turn(device, monkeypatch):
    order = []

    @contextlib.contextmanager
    def turn():
        order.append("turn")
        yield
        order.append("end of it")

    class Pool:
        def __init__(self, **_):
            pass

        def __call__(self, jobs):
            return [function(*given) for function, given, _ in jobs]

    monkeypatch.setattr(parallel, "turn", turn)
    monkeypatch.setattr(parallel, "Parallel", Pool)

    def job(value):
        order.append(value)
        return value

    calls = [{"value": 1}, {"value": 2}]
    assert parallel.each(job, calls, label="jobs", device=device) == [1, 2]
    assert order == ["turn", 1, 2, "end of it"]


def test_a_turn_waits_for_the_end_of_another(tmp_path, monkeypatch):
    for name, value in turns.environment(tmp_path / "lock").items():
        monkeypatch.setenv(name, value)
    has_it = threading.Event()

    def wait():
        with turns.turn():
            has_it.set()

    with FileLock(tmp_path / "lock"):
        thread = threading.Thread(target=wait)
        thread.start()
        assert not has_it.wait(0.3)
    assert has_it.wait(30)
    thread.join(30)
    with FileLock(tmp_path / "lock", timeout=5):  # it has ended
        pass


def test_threads_do_not_spin_while_others_have_their_turn(tmp_path):
    assert turns.environment(tmp_path / "lock")["OMP_WAIT_POLICY"] == "passive"


def test_without_turns_nothing_waits(tmp_path, monkeypatch):
    monkeypatch.delenv(turns.VARIABLE, raising=False)
    with FileLock(tmp_path / "lock"), turns.turn():
        pass
