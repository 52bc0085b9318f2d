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


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a"
    files.replace(path, "old")

    def full(self, content):
        self.touch()
        raise OSError("no space left on device")

    monkeypatch.setattr(type(path), "write_bytes", full)
    with pytest.raises(OSError, match="no space"):
        files.replace(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
