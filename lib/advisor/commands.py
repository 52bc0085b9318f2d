"""The command lines that go on, as they work where they are printed."""

import os
import shlex
import sys
from dataclasses import asdict
from pathlib import Path

from lib.advisor import fine_tuning, starts
from lib.runtime.files import DATA
from lib.tuning import Recipe


def fit(target: str, source: str, out: str, **options: object) -> str:
    """Write the command line that fine-tunes and saves.

    target, source, out: its arguments. options: those of `python -m lib.advisor fit`, by name;
    defaults are left out, and what has no part in such a source.
    """
    defaults = asdict(Recipe()) | {"unfrozen_blocks": starts.depth(source, None)}
    for function in (fine_tuning.fine_tune, starts.load):
        defaults = (function.__kwdefaults__ or {}) | defaults
    words = [*_program("fit"), str(target), "--source", source]
    idle = starts.idle(source, str(options.get("source_data", defaults["source_data"])))
    for name, value in options.items():
        if value != defaults[name] and name not in idle:
            words += [f"--{name.replace('_', '-')}", f"{value}"]
    return shlex.join([*words, "--out", str(out)])


def predict(file: str, folder: str, out: str) -> str:
    """Write the command line that classifies the images of a folder into a CSV file."""
    return shlex.join([*_program("predict"), file, folder, "--out", out])


def _program(command):
    """Return the words before a command's arguments; the first is the interpreter that runs now.

    Within the clone that of its own environment is named from here, so that no page shows a path
    of the machine it was made on.
    """
    python, clone = Path(sys.executable), DATA.parent
    inside = all(path.is_relative_to(clone) for path in (python, Path.cwd()))
    return [os.path.relpath(python) if inside else str(python), "-m", "lib.advisor", command]
