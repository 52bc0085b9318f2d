"""Python programs in processes of their own."""

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent


def python(of, *lines):
    """Return the command that runs lines, for which a module of the tests is `t`.

    of: its file.
    """
    folders = [str(Path(of).resolve().parent), str(TESTS)]
    first = f"import pathlib, sys; sys.path[:0] = {folders!r}; import {Path(of).stem} as t"
    return [sys.executable, "-c", "\n".join([first, *lines])]
