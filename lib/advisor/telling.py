"""How far a long work is, and how much longer it takes: on a terminal, and in a file."""

import sys

from tqdm import tqdm

SECONDS = 30
"""Between two lines in a file."""


class _Lines:
    """Takes what a progress bar writes, and makes a line of each state."""

    def write(self, text: str) -> None:
        if text := text.strip():
            sys.stderr.write(f"{text}\n")

    def flush(self) -> None:
        sys.stderr.flush()


def bar(total: int, label: str) -> tqdm:
    """Return a bar of tqdm: it moves on a terminal; in a file it is a line every SECONDS.

    total: steps of the work. label: what is done.
    """
    if sys.stderr.isatty():
        return tqdm(total=total, desc=label)
    line = "{desc}: {n_fmt} of {total_fmt}, {remaining} left"
    return tqdm(total=total, desc=label, bar_format=line, file=_Lines(), mininterval=SECONDS)
