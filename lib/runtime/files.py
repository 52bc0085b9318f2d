"""Files that are there whole or not at all, whatever happens while they are written."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

DATA = Path(__file__).resolve().parents[2] / "data"
"""The clone's folder of measured rows, the paper's numbers, and (in `cache`) what is kept."""


def replace(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all, also when several processes or threads write it at once.

    A link stays one, and a file keeps its permissions. content: text, written as UTF-8, or bytes.
    Raises OSError, which names the file and says what to do, where it cannot be written.
    """
    content = content.encode() if isinstance(content, str) else content
    with _partial_file(path) as partial:
        partial.write_bytes(content)
        if path.exists():
            partial.chmod(path.stat().st_mode)
        partial.replace(path.resolve())


def check(path: Path) -> None:
    """Raise OSError unless `replace` can write there now; makes the folder where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _partial_file(path) as partial:
        partial.write_bytes(bytes(2**20))  # an empty file has room on a full disk


@contextlib.contextmanager
def _partial_file(path: Path) -> Iterator[Path]:
    """Name a file beside another, which is gone afterwards; of an error tell what to do."""
    path = path.resolve()
    partial = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
    try:
        yield partial
    except OSError as error:
        reason = f"{error.strerror or error}; name another place, or make this one writable"
        raise OSError(error.errno, reason, str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
