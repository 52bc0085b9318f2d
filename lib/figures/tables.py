"""Tables: numbers with their intervals, and names as they are."""

import hashlib
import html
import numbers
from collections.abc import Mapping, Sequence

import pandas as pd
from pandas.io.formats.style import Styler

from lib.figures.estimates import Estimate
from lib.figures.names import NAMES, in_one_line


def styled(frame: pd.DataFrame, **form) -> Styler:
    """Show a frame as a table in which names are text, whatever characters they have.

    Columns are called as in `lib.figures.names.NAMES`, where they stand there. form: as of
    `Styler.format`, such as precision.
    """

    def shown(value):
        number = isinstance(value, numbers.Number) or value is None
        return value if number else html.escape(in_one_line(value))

    table = frame.map(shown).rename(columns=lambda name: NAMES.get(name, name))
    table = table.rename_axis(index=shown, columns=shown)
    # The usual number of a table is drawn at random, and two runs are to be the same.
    uuid = hashlib.sha256(table.to_csv().encode()).hexdigest()[:8]
    style = Styler(table, uuid=uuid).format(**{"na_rep": ""} | form)
    return style.format_index(shown, axis=0).format_index(shown, axis=1)


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
    texts = [f"{Estimate.of(values, unit, **how):short}" for values in estimates]
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
