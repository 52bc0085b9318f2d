import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lib.runtime import files


def test_text_and_bytes(tmp_path):
    files.replace(tmp_path / "a", "ε\n")
    files.replace(tmp_path / "b", b"\x00\xff")
    assert (tmp_path / "a").read_bytes() == "ε\n".encode()
    assert (tmp_path / "b").read_bytes() == b"\x00\xff"
    files.replace(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_link_stays_one_and_permissions_stay(tmp_path):
    path, link = tmp_path / "a", tmp_path / "link"
    files.replace(path, "old")
    path.chmod(0o664)
    link.symlink_to(path)
    files.replace(link, "new")
    assert link.is_symlink() and path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o664 and len(list(tmp_path.iterdir())) == 2


def test_a_place_is_tried_before_it_is_needed(tmp_path):
    path = tmp_path / "new" / "a"
    files.check(path)
    assert path.parent.is_dir() and not list(path.parent.iterdir())
    path.write_text("kept")
    files.check(path)
    assert path.read_text() == "kept"
    for bad in (tmp_path / ("漢" * 90), path / "b", Path("/proc/a")):
        for use in (files.check, lambda path: files.replace(path, "x")):
            with pytest.raises(OSError) as caught:
                use(bad)
            assert str(bad.name) in str(caught.value) or str(path) in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["new"]


def test_git_overlooks_what_a_kill_leaves(tmp_path):
    ignored = ["runs/.x.ipynb.7.partial", "chapters/.01_x.ipynb.7.partial", ".rows.jsonl.lock"]
    done = subprocess.run(["git", "check-ignore", *ignored], capture_output=True, text=True)
    if done.returncode == 128:
        pytest.skip("no repository")
    assert done.stdout.split() == ignored


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a"
    files.replace(path, "old")

    def full(self, content):
        self.touch()
        raise OSError("no space left on device")

    monkeypatch.setattr(type(path), "write_bytes", full)
    with pytest.raises(OSError, match=r"no space.*; name another place, or make"):
        files.replace(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_threads_may_write_one_file_at_once(tmp_path):
    path = tmp_path / "a"
    files.replace(path, "0")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: files.replace(path, f"{i}" * 1000), range(400)))  # raises what is
    assert len(set(path.read_text())) <= 3 and [*tmp_path.iterdir()] == [path]
