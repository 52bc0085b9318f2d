"""What is noted of a run: the commit, and whether the code was that of the commit."""

import subprocess

from lib.runtime import provenance


def git(folder, *words):
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", folder, *who, *words], capture_output=True, check=True)
    return done.stdout.decode().strip()


def test_a_commit_has_a_plus_where_tracked_files_differ(tmp_path):
    assert provenance.commit(tmp_path) == ""
    git(tmp_path, "init")
    (tmp_path / "code").write_text("one")
    git(tmp_path, "add", "code")
    git(tmp_path, "commit", "-m", "first")
    commit = git(tmp_path, "rev-parse", "--short", "HEAD")
    (tmp_path / "rows").touch()
    assert provenance.commit(tmp_path) == commit
    (tmp_path / "code").write_text("another")
    assert provenance.commit(tmp_path) == f"{commit}+"
