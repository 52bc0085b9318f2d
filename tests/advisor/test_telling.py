import re
import sys
import time

from lib.advisor import telling


def test_a_file_gets_lines_with_the_time_that_is_left(capsys, monkeypatch):
    monkeypatch.setattr(telling, "SECONDS", 0.05)
    with telling.bar(4, "fine-tuning, epochs") as bar:
        for _ in range(4):
            time.sleep(0.06)
            bar.update()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 3 and "\r" not in "".join(lines)
    assert all(re.fullmatch(r"fine-tuning, epochs: \d of 4, [\d?:]+ left", line) for line in lines)
    assert lines[-1] == "fine-tuning, epochs: 4 of 4, 00:00 left"


def test_a_file_gets_no_line_for_every_step(capsys):
    with telling.bar(50, "steps") as bar:
        for _ in range(50):
            time.sleep(0.02)
            bar.update()
    assert len(capsys.readouterr().err.splitlines()) <= 3


def test_on_a_terminal_there_is_one_bar(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with telling.bar(3, "steps") as bar:
        bar.update(3)
    written = capsys.readouterr().err
    assert "\r" in written and "3/3" in written
