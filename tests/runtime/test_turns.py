import threading
import time

from filelock import FileLock

from lib.runtime import turns
from lib.runtime.parallel import each


def begin(done):
    """Have two jobs done in this process, in a thread."""
    calls = [{"object": 1}, {"object": 2}]
    how = {"label": "jobs", "device": "elsewhere"}
    thread = threading.Thread(target=lambda: done.extend(each(str, calls, **how)))
    thread.start()
    return thread


def test_jobs_wait_for_their_turn(tmp_path, monkeypatch):
    lock, done = tmp_path / "lock", []
    for name, value in turns.taken(lock).items():
        monkeypatch.setenv(name, value)
    with FileLock(lock):
        thread = begin(done)
        time.sleep(0.3)
        assert thread.is_alive() and done == []
    thread.join(30)
    assert done == ["1", "2"]
    with FileLock(lock, timeout=0):  # it has ended its turn
        pass


def test_without_turns_nothing_waits(tmp_path, monkeypatch):
    monkeypatch.delenv(turns.VARIABLE, raising=False)
    done = []
    with FileLock(tmp_path / "lock"):
        begin(done).join(30)
    assert done == ["1", "2"]
