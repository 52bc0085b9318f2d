"""Sentences that a chapter says: numbers in words, under the table or figure that shows them."""

import numbers
import sys
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from IPython.display import DisplayHandle, Markdown, display
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from myst_nb import glue

from lib.figures.estimates import AHEAD, NOTHING, Estimate, Words, verdict, where
from lib.figures.names import NAMES, literal

NOT_MEASURED = "not measured in this run"
MANY = 8
"""Values of which no difference can be told, and more of which are not listed."""


def say(text: str) -> None:
    """Display Markdown: a paragraph, a list or a table.

    Lines are joined to paragraphs as Markdown does. In the pages roles such as {cite} and {numref}
    work; elsewhere they are text.
    """
    display(Markdown(text))


def say_list(*items: str) -> None:
    """Say a Markdown list of these items, or nothing where there are none."""
    if items:
        say("\n".join(f"- {item}" for item in items))


def say_table(*rows: Sequence[object]) -> None:
    """Say a Markdown table of these rows, the first of which are the headings.

    Its cells are texts, or write themselves.
    """
    lines = [f"| {' | '.join(map(str, row))} |" for row in rows]
    say("\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]]))


class Answer:
    """The answer of a chapter: said where it is measured, and again at the top and at the end.

    Where it is made stands the answer so far, which grows with every sentence that it is called
    with.
    """

    def __init__(self):
        self._sentences: dict[tuple[str, int], str] = {}
        self._place = DisplayHandle()
        self._place.display(Markdown("*The answer of this run stands here once it is measured.*"))

    def __call__(self, sentence: str, *, at: int | None = None) -> None:
        """Say a sentence of plain text, which becomes a part of the answer.

        at: before which of the sentences so far, from 0; None for behind them all. A line of code
        has one sentence: where its cell is run again, the new one takes the place of the old. A
        cell whose code was changed is another.
        """
        say(sentence)
        caller = sys._getframe(1)
        line = caller.f_code.co_filename, caller.f_lineno  # IPython names a cell's file by its code
        if line in self._sentences:
            self._sentences[line] = sentence
        elif sentence not in self._sentences.values():
            said = [*self._sentences.items()]
            said.insert(len(said) if at is None else at, (line, sentence))
            self._sentences = dict(said)
        self._place.update(Markdown(f"**In short.** {' '.join(self._sentences.values())}"))

    def say(self) -> None:
        """Say all of it as a list, and keep it for other pages to quote, under the name answer."""
        quote(answer=" ".join(self._sentences.values()))
        say_list(*self._sentences.values())


def quote(**values: object) -> None:
    """Store values under their names for other pages to quote by `glue`; nothing is displayed.

    values: numbers, texts, tables and figures, which are closed.
    """
    for name, value in values.items():
        glue(name, float(value) if isinstance(value, numbers.Real) else value, display=False)
        if isinstance(value, Figure):
            plt.close(value)


def show(**figures: Figure) -> None:
    """Display figures, and store them under their names for other pages to quote by `glue`.

    All figures that are open are closed, those that were made on the way, too.
    """
    for name, figure in figures.items():
        glue(name, figure)
    plt.close("all")


def series(
    found: pd.DataFrame,
    by: str | Sequence[str],
    words: Words | None = None,
    *,
    of: object = None,
    unit: str = "points",
    **how: int,
) -> str:
    """Say the estimates of a frame's rows in one line, each with what tells it apart.

    found: rows of `lib.stats.paired` or `summary`, in order. by: columns that tell them apart.
    words: those of the verdict that each gets, as in `verdict`, or None for none. of: the one
    source whose rows are meant, or None for all. unit: "points", "%" or "", as in `text_table`.
    how: signed and digits, if not as everywhere.
    """
    return "; ".join(_items(found, by, words, of, unit, how)) or NOT_MEASURED


def say_differences(
    found: pd.DataFrame,
    by: str | Sequence[str],
    over: str = "sizes",
    words: Words | None = AHEAD,
    *,
    of: object = None,
    what: str = "accuracy",
    other: str = "natural sources",
) -> None:
    """Say differences to other sources as a list, and what they are means of.

    found, by, words, of: as in `series`; without `of` the list names the sources. over: what they
    are means of. what: what differs, as it stands behind "in", with no comma at its end. other:
    those that the differences are to.
    """
    found = found if of is None else where(found, constraint=of)
    items = "\n".join(f"- {item}" for item in _items(found, by, words, None, "points", {}))
    intervals = ", with 95 % intervals" * bool(found["low"].notna().any())
    say(
        f"In {what}, {'each source' if of is None else of} differs from "
        f"{other} by so many points, as a mean over the {over}{intervals}:\n\n"
        f"{items or NOT_MEASURED}"
    )


def _items(found, by, words, of, unit, how):
    """List the texts of `series`."""
    found = found if of is None else where(found, constraint=of)
    if found.empty:
        return []
    columns, items = [by] if isinstance(by, str) else list(by), []
    frames = found[columns], found[["mean", "low", "high"]]
    for key, values in zip(*(frame.itertuples(index=False) for frame in frames), strict=True):
        name = ", ".join(map(_named, columns, key))
        told = f", {verdict(values.low, values.high, words)}" if words else ""
        items.append(f"{name}: {Estimate.of(values, unit, **how):short}{told}")
    return items


def _named(column, value):
    """Say the value of a column: a name as it is, a number behind what it is one of."""
    if not isinstance(value, numbers.Real):
        return literal(value)
    number = f"{value:,}" if isinstance(value, numbers.Integral) else f"{value:g}"
    return f"{NAMES.get(column, column)} = {number}"


def sides(
    differences: pd.DataFrame,
    column: str,
    words: Words = AHEAD,
    *,
    link: str = "",
    of: object = None,
) -> str:
    """Say of which values of a column the interval lies above zero, below it, or on neither side.

    words, of: as in `series`. link: what stands before the values, as in "ahead on digits and
    faces; behind on textures"; without it they are what is compared: "ℓ2 0.25 and ℓ2 0.5 are
    ahead". Of many values of which nothing is told only the number is said.
    """
    parts = []
    for word, names in _by_side(differences, column, words, of).items():
        if link or word == NOTHING:
            parts.append(f"{word} {link or 'for'} {listing(names)}")
        else:
            parts.append(f"{listing(names)} {'is' if len(names) == 1 else 'are'} {word}")
    return "; ".join(parts) or NOT_MEASURED


def standing(
    differences: pd.DataFrame,
    column: str,
    of: object,
    *,
    link: str,
    called: str = "",
    other: object = "natural sources",
) -> str:
    """Say on which values of a column one source is ahead of others, and on which behind.

    differences, column, of, link: as in `sides`. called: what to call the source, if not as it is.
    other: what it is compared with.
    As text: ℓ2 0.25 is ahead of natural sources on digits, and behind on faces; no difference can
    be told on textures.
    """
    found = {
        word: f"{link} {listing(names)}"
        for word, names in _by_side(differences, column, AHEAD, of).items()
    }
    ahead, behind, nothing = map(found.get, AHEAD)
    called = f"{called or of}"
    leads = [f"ahead of {other} {ahead}"] if ahead else []
    leads += [f"behind {f'{other} ' * (not ahead)}{behind}"] if behind else []
    parts = [f"{called} is {', and '.join(leads)}"] if leads else []
    if nothing:
        between = "" if leads else f" between {called} and {other}"
        parts.append(f"no difference{between} can be told {nothing}")
    return "; ".join(parts) or f"{called} and {other}: {NOT_MEASURED}"


def compared(differences: pd.DataFrame, called: Mapping, other: object = "natural sources") -> str:
    """Say by how much some sources are ahead of others, or behind, one after another.

    differences: as of `lib.stats.paired`, one row a source. called: by constraint, the sources to
    say, and what to call them. other: what they are compared with. As text: ℓ2 0.25 is 4.2 points
    ahead of natural sources (95 % interval 1.0 to 7.4).
    """
    told = [
        Estimate.of(values, "points").between(name, other)
        for constraint, name in called.items()
        for values in where(differences, constraint=constraint)[["mean", "low", "high"]].to_numpy()
    ]
    return "; ".join(told) or f"{listing(called.values())}: {NOT_MEASURED}"


def say_standing(
    differences: pd.DataFrame, column: str, of: object, *, link: str, called: str = ""
) -> None:
    """Say what `standing` returns, as a sentence."""
    told = standing(differences, column, of, link=link, called=called)
    say(f"{told[0].upper()}{told[1:]}.")


def _by_side(differences, column, words, of):
    """Return the values of a column by the word for the side of 0 where their interval lies."""
    if of is not None:
        differences = where(differences, constraint=of)
    if differences.empty:
        return {}
    intervals = zip(differences["low"], differences["high"], strict=True)
    found = np.array([verdict(*interval, words) for interval in intervals])
    groups = {}
    for word in words:
        names = [literal(name) for name in differences.loc[found == word, column]]
        names = [f"“{name}”" if "," in name else name for name in names]  # they stand in a list
        if word == NOTHING and len(names) > MANY:
            names = [f"{'the other' if groups else 'all'} {len(names)}"]
        if names:
            groups[word] = names
    return groups


def listing(words: Iterable, last: str = "and") -> str:
    """List words: a, b and c; "none" where there are none."""
    words = [str(word) for word in words]
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), *words[-1:]])) or "none"


def say_sets(splits: Mapping, about: Mapping[str, str], remarks: Iterable[str] = ()) -> None:
    """List the images of sets that a run takes, by their numbers, then what there is of the sets.

    splits: {name: (training images, test images)} that are taken, some of a set or all. about: what
    to say of those that are known. remarks: as `lib.datasets.remarks` returns them, which counts
    all that a folder holds.
    """
    say_list(
        *(
            f"{about.get(name, f'**{literal(name)}**')}: {len(train.classes)} classes, "
            f"{len(train):,} training and {len(test):,} test images"
            for name, (train, test) in splits.items()
        )
    )
    if remarks := [*map(literal, remarks)]:
        say("All that there is, and what is doubtful of it:")
        say_list(*remarks)


def depth_in_words(unfrozen_blocks: int) -> str:
    """Say what is trained: the head alone, the head and the last block, everything."""
    if unfrozen_blocks < 0:
        return "everything"
    if unfrozen_blocks < 2:
        return ("the head alone", "the head and the last block")[unfrozen_blocks]
    return f"the head and the last {unfrozen_blocks} blocks"
