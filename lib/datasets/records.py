"""Small records on disk, each with its checksum: read as they were written, or not at all."""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path

from lib.runtime import files


def write(path: Path, record: Mapping) -> None:
    """Write a record, whole or not at all: a line of JSON, and its checksum."""
    text = json.dumps(record)
    files.replace(path, f"{text}\n{zlib.crc32(text.encode())}")


def read(path: Path) -> dict:
    """Read a record. Raises ValueError where it is damaged, OSError where it cannot be read."""
    text, _, checksum = path.read_text(encoding="utf-8").partition("\n")
    if checksum != str(zlib.crc32(text.encode())):
        raise ValueError("its record is not the one that was written")
    return json.loads(text)
