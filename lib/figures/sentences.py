"""Sentences that a chapter says: numbers in words, under the table or figure that shows them."""

import html
import numbers
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from IPython.display import DisplayHandle, Markdown, display
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from myst_nb import glue
from pandas.io.formats.style import Styler

NAMES = {
    "n_train": "N",
    "constraint": "source",
    "lr": "learning rate",
    "unfrozen_blocks": "unfrozen blocks",
    "source_seed": "seed",
    "clean_accuracy": "accuracy",
}
"""What tables call columns of rows, where the field's word is another."""
NOTHING = "no difference can be told"
"""What the 95 % interval of a difference tells where it holds 0."""


def say(text: str) -> None:
    """Display Markdown: a paragraph, a list or a table.

    Lines are joined to paragraphs as Markdown does. In the pages roles such as {cite} and {numref}
    work; elsewhere they are text.
    """
    display(Markdown(text))


def say_list(*items: str) -> None:
    """Say a Markdown list of these items."""
    say("\n".join(f"- {item}" for item in items))


def say_table(*rows: Sequence[str]) -> None:
    """Say a Markdown table of these rows of texts, the first of which are the headings."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    say("\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]]))


def answer() -> Callable[[str], None]:
    """Display where the chapter's answer will stand, and return what says it, once it is known.

    What says it takes plain text, and keeps that under the name `answer` for other pages to quote.
    """
    place = DisplayHandle()
    place.display(Markdown("*The answer of this run stands here once all is measured.*"))

    def answered(text: str) -> None:
        place.update(Markdown(f"**In short.** {text}"))
        quote(answer=text)

    return answered


def quote(**values: float | str | Figure) -> None:
    """Store values under their names for other pages to quote by `glue`; nothing is displayed."""
    for name, value in values.items():
        glue(name, value if isinstance(value, str | Figure) else float(value), display=False)
        if isinstance(value, Figure):
            plt.close(value)


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval, which writes itself.

    mean, low, high: in `unit`; low and high are NaN where there is one draw. unit: "points", "%"
    or "". signed: whether it is a difference. digits: after the point.

    As text: +4.2 points (95 % interval +1.0 to +7.4). With the format `short`: +4.2 [+1.0, +7.4];
    with `mean`: +4.2 points.
    """

    mean: float
    low: float
    high: float
    unit: str = "points"
    signed: bool = True
    digits: int = 1

    @property
    def verdict(self) -> str:
        """What the interval of a difference tells: ahead, behind, or that nothing can be told."""
        return verdict(self.low, self.high)

    def __str__(self) -> str:
        return format(self, "")

    def __format__(self, spec: str) -> str:
        if spec not in ("", "mean", "short"):
            raise ValueError(f"the format is {spec!r}; allowed are mean and short, or none")
        if np.isnan(self.mean):
            return "unknown"
        how = f"{'+' * self.signed}.{self.digits}f"
        values = (round(float(v), self.digits) + 0 for v in (self.mean, self.low, self.high))
        mean, low, high = (format(value, how) for value in values)  # + 0: no −0.0
        known, unit = not np.isnan(self.low), f" {self.unit}" * bool(self.unit)
        if spec == "mean":
            return mean + unit
        if spec == "short":
            return f"{mean} [{low}, {high}]" if known else mean
        interval = f"95 % interval {low} to {high}" if known else "without an interval"
        return f"{mean}{unit} ({interval})"


def row(frame: pd.DataFrame, **key) -> pd.Series:
    """Return the one row of a frame whose columns have these values.

    Raises KeyError, naming the key, where there is none, or more than one.
    """
    chosen = where(frame, **key)
    if len(chosen) != 1:
        named = ", ".join(f"{column} {value}" for column, value in key.items())
        raise KeyError(f"{len(chosen)} rows with {named}; a sentence needs one")
    return chosen.iloc[0]


def where(frame: pd.DataFrame, **key) -> pd.DataFrame:
    """Choose the rows whose columns have these values; a frame without rows may lack columns."""
    for column, value in key.items() if len(frame) else ():
        frame = frame[np.array([v == value for v in frame[column]], dtype=bool)]
    return frame


def points(frame: pd.DataFrame, *, otherwise: str | None = None, **key) -> Estimate | str:
    """Return a difference of shares in points of percent, of a row as `lib.stats.paired` has it.

    key: as in `row`. otherwise: what to say where that row is missing; without it a KeyError.
    """
    return _estimate(frame, otherwise, key, "points")


def percent(frame: pd.DataFrame, *, otherwise: str | None = None, **key) -> Estimate | str:
    """Return a share in percent, of a row as `lib.stats.summary` has it; else as `points`."""
    return _estimate(frame, otherwise, key, "%")


def plain(
    frame: pd.DataFrame,
    *,
    otherwise: str | None = None,
    digits: int = 2,
    signed: bool = False,
    **key,
) -> Estimate | str:
    """Return a number without a unit, as a correlation. The rest: as in `points`."""
    return _estimate(frame, otherwise, key, "", signed=signed, digits=digits)


def _estimate(frame, otherwise, key, unit, **how):
    if otherwise is not None and not len(where(frame, **key)):
        return otherwise
    return _of_row(row(frame, **key)[["mean", "low", "high"]], unit, **how)


def _of_row(values, unit, **how):
    """Make an Estimate of mean, low and high in a unit; shares become points or percent."""
    scale, digits = (100, 1) if unit else (1, 2)
    how = {"unit": unit, "signed": unit == "points", "digits": digits} | how
    return Estimate(*(scale * value for value in values), **how)


def verdict(low: float, high: float, words: tuple[str, str] = ("ahead", "behind")) -> str:
    """Say what a 95 % interval of a difference tells: ahead, behind, or nothing.

    words: for differences above and below 0, such as higher and lower.
    """
    if np.isnan(low) or low <= 0 <= high:
        return NOTHING
    return words[0] if low > 0 else words[1]


def tally(
    differences: pd.DataFrame, cells: str = "sizes", words: tuple[str, str] = ("ahead", "behind")
) -> str:
    """Say at how many rows of differences the interval leaves zero out, and on which side.

    cells: what the rows are. words: as in `verdict`.
    """
    if differences.empty:
        return "not measured in this run"
    found = [
        verdict(low, high, words)
        for low, high in zip(differences["low"], differences["high"], strict=True)
    ]
    counts = [f"{word} at {found.count(word)}" for word in words]
    return f"{counts[0]} and {counts[1]} of {len(found)} {cells}"


def tallies(
    differences: pd.DataFrame,
    by: str | Sequence[str],
    cells: str = "sizes",
    words: tuple[str, str] = ("ahead", "behind"),
    *,
    inline: bool = False,
) -> str:
    """Say `tally` of each group of differences, as a Markdown list, or in one line.

    by: columns that tell the groups apart; they are in order of appearance.
    """
    if differences.empty:
        return "not measured in this run"
    groups = differences.groupby([by] if isinstance(by, str) else list(by), sort=False)
    items = [
        f"{', '.join(literal(name) for name in names)}: {tally(part, cells, words)}"
        for names, part in groups
    ]
    return "; ".join(items) if inline else "\n".join(f"- {item}" for item in items)


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
        f"{name} {value:,}: {_of_row(row, unit, **how):short}"
        if isinstance(value, int)
        else f"{literal(value)}: {_of_row(row, unit, **how):short}"
        for value, row in zip(frame[column].tolist(), values, strict=True)
    )


def listing(words: Iterable, last: str = "and") -> str:
    """List words: a, b and c; "none" where there are none."""
    words = [str(word) for word in words]
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), *words[-1:]])) or "none"


def in_one_line(name: object) -> str:
    """Write a name of the reader's in one line."""
    return " ".join(str(name).split())


def literal(text: object) -> str:
    """Write a name of the reader's, of a class or a folder, so that Markdown leaves it as it is."""
    text = re.sub(r"""([\\`*_[\]{}<>|$~#&'"]|^[-+=%:(])""", r"\\\1", in_one_line(text))
    return re.sub(r"^(\d+)([.)](?: |$))", r"\1\\\2", text)  # no numbered list


def styled(frame: pd.DataFrame, **form) -> Styler:
    """Show a frame as a table in which names are text, whatever characters they have.

    form: as of `Styler.format`, such as precision.
    """

    def shown(value):
        number = isinstance(value, numbers.Number) or value is None
        return value if number else html.escape(in_one_line(value))

    style = frame.map(shown).style.format(**{"na_rep": ""} | form)
    return style.format_index(shown, axis=0).format_index(shown, axis=1)


def describe(splits: Mapping, about: Mapping[str, str]) -> str:
    """List image sets in Markdown, each with its numbers of classes and images.

    splits: as `lib.datasets.named` returns them. about: what to say of those that are known.
    """
    return "\n".join(
        f"- {about.get(name, f'**{literal(name)}**')}: {len(train.classes)} classes, "
        f"{len(train):,} training and {len(test):,} test images"
        for name, (train, test) in splits.items()
    )


def text_table(
    frame: pd.DataFrame,
    rows: str | Sequence[str],
    columns: str,
    *,
    unit: str = "points",
    names: Mapping[str, str] | None = None,
    **how: int,
) -> pd.DataFrame:
    """Lay estimates out as a table of texts: +4.2 [+1.0, +7.4].

    frame: as `lib.stats.summary` or `paired` return it. rows, columns: columns of it, whose values
    become rows and columns, in their order of appearance. unit: "points", "%" or "". names: how to
    call columns of the frame in the table. how: digits after the point, if not as everywhere. What
    was not measured stays empty.
    """
    rows = [rows] if isinstance(rows, str) else list(rows)
    estimates = frame[["mean", "low", "high"]].itertuples(index=False)
    texts = [f"{_of_row(values, unit, **how):short}" for values in estimates]
    cells = pd.DataFrame(
        {name: frame[name].map(_short).astype(object) for name in [*rows, columns]}
    )
    wide = cells.assign(text=texts).pivot(index=rows, columns=columns, values="text")
    lines = cells.set_index(rows).index.unique()
    wide = wide.reindex(index=lines, columns=cells[columns].unique()).fillna("")
    called = NAMES | dict(names or {})
    return wide.rename_axis(index=[called.get(r, r) for r in rows], columns=called.get(columns, ""))


def _short(value):
    """Leave whole numbers as they are, and write all else as short as it goes."""
    if isinstance(value, numbers.Integral):
        return value
    return f"{value:g}" if isinstance(value, numbers.Real) else in_one_line(value)


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
