"""Files that are there whole or not at all, whatever happens while they are written."""

import os
from pathlib import Path

DATA = Path(__file__).resolve().parents[2] / "data"
"""The clone's folder of measured rows, the paper's numbers, and (in `cache`) what is kept."""


def replace(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all, also when two processes write it at once.

    content: text, written as UTF-8, or bytes. Raises OSError where the folder cannot be written.
    """
    content = content.encode() if isinstance(content, str) else content
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
