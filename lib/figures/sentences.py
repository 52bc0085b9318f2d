"""Sentences that a chapter says: numbers in words, under the table or figure that shows them."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from IPython.display import DisplayHandle, Markdown, display
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from myst_nb import glue

from lib.figures.estimates import NOTHING, Estimate, verdict
from lib.figures.names import NAMES, literal


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


def answer() -> Callable[..., None]:
    """Display where the chapter's answer will stand, and return what says it, once it is known.

    What says it takes the answer in sentences of plain text, and more of them by `also`. All are
    said as a list where it is called; the answer stands above, too, and is kept under the name
    `answer` for other pages to quote.
    """
    place = DisplayHandle()
    place.display(Markdown("*The answer of this run stands here once all is measured.*"))

    def answered(*told: str, also: Sequence[str] = ()) -> None:
        place.update(Markdown(f"**In short.** {' '.join(told)}"))
        quote(answer=" ".join(told))
        say_list(*told, *also)

    return answered


def quote(**values: float | str | Figure) -> None:
    """Store values under their names for other pages to quote by `glue`; nothing is displayed."""
    for name, value in values.items():
        glue(name, value if isinstance(value, str | Figure) else float(value), display=False)
        if isinstance(value, Figure):
            plt.close(value)


def differences(
    found: pd.DataFrame,
    by: str | Sequence[str],
    words: tuple[str, str] = ("ahead", "behind"),
    *,
    inline: bool = False,
    unit: str = "points",
) -> str:
    """Say each difference, with its interval and its verdict, as a Markdown list or in one line.

    found: rows of `lib.stats.paired`, in order. by: columns that tell them apart. words: as in
    `verdict`. unit: as in `series`; differences are signed.
    """
    if found.empty:
        return "not measured in this run"
    names = found[[by] if isinstance(by, str) else list(by)].itertuples(index=False)
    values = found[["mean", "low", "high"]].itertuples(index=False)
    items = [
        f"{', '.join(f'{n:,}' if isinstance(n, int) else literal(n) for n in name)}: "
        f"{Estimate.of(value, unit, signed=True):short}, {verdict(value.low, value.high, words)}"
        for name, value in zip(names, values, strict=True)
    ]
    return "; ".join(items) if inline else "\n".join(f"- {item}" for item in items)


def say_differences(
    found: pd.DataFrame,
    by: str | Sequence[str],
    over: str = "sizes",
    words: tuple[str, str] = ("ahead", "behind"),
    *,
    of: object = "",
) -> None:
    """Say `differences` to natural sources as a list, and what they are.

    over: what they are means of. of: the one source that is compared, or "" where the list names
    them.
    """
    whose = f"{of} over" if of else "Over"
    say(
        f"{whose} the natural source, in points, mean over the {over}, with 95 % intervals:\n\n"
        f"{differences(found, by, words)}"
    )


def sides(
    differences: pd.DataFrame,
    column: str,
    words: tuple[str, str] = ("ahead", "behind"),
    *,
    link: str = "",
) -> str:
    """Say of which values of a column the interval lies above zero, below it, or on neither side.

    words: as in `verdict`. link: what stands before the values, as in "ahead on digits and faces;
    behind on textures"; without it they are what is compared: "ℓ2 0.25 and ℓ2 0.5 are ahead".
    """
    if differences.empty:
        return "not measured in this run"
    intervals = zip(differences["low"], differences["high"], strict=True)
    found = np.array([verdict(*interval, words) for interval in intervals])
    parts = []
    for word in (*words, NOTHING):
        names = [literal(name) for name in differences.loc[found == word, column]]
        names = [f"“{name}”" if "," in name else name for name in names]  # they stand in a list
        if not names:
            continue
        if link or word == NOTHING:
            parts.append(f"{word} {link or 'for'} {listing(names)}")
        else:
            parts.append(f"{listing(names)} {'is' if len(names) == 1 else 'are'} {word}")
    return "; ".join(parts)


def series(frame: pd.DataFrame, column: str, *, unit: str = "points", **how: int) -> str:
    """Say the estimates of a frame's rows in one line, each with its value of a column.

    unit: "points", "%" or "", as in `text_table`. how: signed and digits, if not as everywhere.
    """
    if frame.empty:
        return "not measured in this run"
    name = NAMES.get(column, column)
    values = frame[["mean", "low", "high"]].itertuples(index=False)
    return "; ".join(
        f"{name} {value:,}: {Estimate.of(row, unit, **how):short}"
        if isinstance(value, int)
        else f"{literal(value)}: {Estimate.of(row, unit, **how):short}"
        for value, row in zip(frame[column].tolist(), values, strict=True)
    )


def listing(words: Iterable, last: str = "and") -> str:
    """List words: a, b and c; "none" where there are none."""
    words = [str(word) for word in words]
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), *words[-1:]])) or "none"


def describe(splits: Mapping, about: Mapping[str, str]) -> str:
    """List image sets in Markdown, each with its numbers of classes and images.

    splits: as `lib.datasets.named` returns them. about: what to say of those that are known.
    """
    return "\n".join(
        f"- {about.get(name, f'**{literal(name)}**')}: {len(train.classes)} classes, "
        f"{len(train):,} training and {len(test):,} test images"
        for name, (train, test) in splits.items()
    )


def recommendation(
    best: object, ahead: pd.DataFrame, *, verb: str = "Start from", say: Callable = str
) -> str:
    """Say in a sentence or two what to choose, and how sure that is.

    best, ahead: as `lib.advisor.advice.leads` returns them. verb: what to do with it. say: maps a
    choice to words.
    """
    if ahead.empty:
        return f"Only {say(best)} was measured, so there is nothing to choose."
    column, surely = ahead.columns[0], ahead["low"] > 0
    tied = [say(choice) for choice in ahead.loc[~surely, column]]
    if not surely.any():
        others = listing([say(best), *tied])
        return f"No difference can be told between {others}; {say(best)} has the highest mean."
    next_ = ahead.loc[surely, column].iloc[0]
    numbers = 100 * ahead.loc[surely, ["mean", "low", "high"]].iloc[0]
    lead = "ahead of {} by {:.1f} points ({:.1f} to {:.1f})".format(say(next_), *numbers)
    if tied:
        others = listing([say(best), *tied], "or")
        return (
            f"{verb} {others}: no difference can be told between them, but {say(best)}, with the "
            f"highest mean, is {lead}."
        )
    more = ", and of the others by more" * (len(ahead) > 1)
    return f"{verb} {say(best)}: it is {lead}{more}."


def depth_in_words(unfrozen_blocks: int) -> str:
    """Say what is trained: the head alone, the head and the last block, everything."""
    if unfrozen_blocks < 0:
        return "everything"
    if unfrozen_blocks < 2:
        return ("the head alone", "the head and the last block")[unfrozen_blocks]
    return f"the head and the last {unfrozen_blocks} blocks"
