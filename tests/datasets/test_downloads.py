import contextlib
import functools
import http.server
import socket
import threading
import types
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import small_sets
from torchvision import datasets

from lib.datasets import downloads, load, torchvision_sets


@pytest.fixture(autouse=True)
def folder(empty_downloads):
    return empty_downloads


@pytest.fixture
def served(tmp_path, folder, monkeypatch):
    """SVHN behind a server of this machine, and what it was asked for."""
    small_sets.svhn(tmp_path / "www" / "svhn", monkeypatch)
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append((self.command, self.path))

    make = functools.partial(Handler, directory=str(tmp_path / "www" / "svhn"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), make) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        listed = {k: [url + v[1], *v[1:]] for k, v in datasets.SVHN.split_list.items()}
        monkeypatch.setattr(datasets.SVHN, "split_list", listed)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        monkeypatch.setattr(urllib.request, "urlopen", opener.open)
        yield asked
        server.shutdown()


def test_what_is_not_there_is_downloaded_once(served, folder, capsys):
    assert len(load("svhn")) == 4
    assert {path for _, path in served} == {"/train_32x32.mat"}
    count = len(served)
    load("svhn")
    assert len(served) == count
    load("svhn", "test")
    assert {path for _, path in served} == {"/train_32x32.mat", "/test_32x32.mat"}
    assert sorted(p.name for p in (folder / "svhn").iterdir()) == [
        "test_32x32.mat",
        "train_32x32.mat",
    ]
    assert capsys.readouterr() == ("", "")  # nobody is looking


def test_a_download_of_another_checksum_is_refused(served, folder, tmp_path):
    file = tmp_path / "www" / "svhn" / "train_32x32.mat"
    file.write_bytes(file.read_bytes() + b"!")
    for _ in range(2):
        with pytest.raises(ValueError, match=r"SVHN is missing or damaged.*put there train_32x32"):
            load("svhn")
        assert not (folder / "svhn" / "train_32x32.mat").exists()


def test_of_several_one_downloads_and_the_others_wait(folder):
    together, brought = threading.Barrier(2), []

    def make(root, download):
        if download:
            brought.append(root)
            with contextlib.suppress(threading.BrokenBarrierError):
                together.wait(0.5)  # for another that does not wait
            (root / "whole.tar").touch()
        elif not (root / "whole.tar").exists():
            raise RuntimeError
        return "a set"

    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(downloads.opened, "one", "One", make, ()) for _ in range(2)]
    assert [call.result() for call in calls] == ["a set"] * 2 and len(brought) == 1


def test_no_connection_waits_for_ever(folder):
    before, patience = socket.getdefaulttimeout(), []

    def make(root, download):
        if download:
            patience.append(socket.getdefaulttimeout())
        raise RuntimeError

    with pytest.raises(ValueError, match="One is missing"):
        downloads.opened("one", "One", make, ())
    assert patience == [downloads.PATIENCE] and socket.getdefaulttimeout() == before


def test_the_progress_in_a_notebook_is_one_display(served, monkeypatch):
    said = []
    line = types.SimpleNamespace(update=lambda text, raw: said.append(text["text/plain"]))
    shell = types.SimpleNamespace(kernel="a kernel")
    monkeypatch.setattr(downloads, "get_ipython", lambda: shell)
    monkeypatch.setattr(downloads, "display", lambda *_, **__: line)
    load("svhn")
    assert said and all(s.startswith("SVHN: ") and "\n" not in s and "\r" not in s for s in said)
    assert any("%" in s for s in said)


def test_what_was_half_unpacked_is_never_used(folder, tmp_path, monkeypatch):
    """torchvision takes a folder that is there for a whole one."""
    held, _ = small_sets.eurosat(tmp_path / "unpacked", monkeypatch)
    files = torchvision_sets.SETS["eurosat"].files
    small_sets.lay_archives(tmp_path / "unpacked", folder / "eurosat", files)
    small_sets.believe_archives(monkeypatch)

    def killed(archive, target, *_):
        small_sets.save(Path(target) / "2750" / "Forest" / "Forest_1.jpg", small_sets.flat(0, 0))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("torchvision.datasets.utils.extract_archive", killed)
        load("eurosat")
    assert len(load("eurosat")) + len(load("eurosat", "test")) == len(held["whole"])


def test_a_download_goes_on_after_a_kill(folder, tmp_path, monkeypatch):
    """Of Flowers102, the archive is there in full when the labels break off."""
    small_sets.flowers102(tmp_path / "unpacked", monkeypatch)
    archive, *rest = torchvision_sets.SETS["flowers102"].files
    partial = folder / "flowers102" / downloads.PARTIAL
    small_sets.lay_archives(tmp_path / "unpacked", partial, [archive])
    small_sets.believe_archives(monkeypatch)
    with pytest.raises(ValueError, match="Flowers102 is missing"):
        load("flowers102")
    assert (partial / archive).is_file() and not (folder / "flowers102" / "flowers-102").exists()
    small_sets.lay_archives(tmp_path / "unpacked", folder / "flowers102", rest)
    assert len(load("flowers102")) == 6
