"""Tables: each number where it belongs, each name as it is, and the same table each time."""

import html
import itertools
import random
import re

import numpy as np
import pandas as pd
import pytest
from samples import GAP, ROBUST

from lib.constraint import NATURAL, UNTRAINED, Constraint
from lib.figures import tables


def test_a_table_in_order_of_appearance():
    table = tables.text_table(GAP, ["target", "n_train"], "constraint")
    assert table.index.tolist() == [("digits", 20), ("digits", 40), ("faces", 20)]
    assert table.columns.tolist() == ["ℓ2 0.25", "untrained"]
    assert table.to_numpy().tolist() == [
        ["+4.2 [+1.0, +7.4]", ""], ["+1.0 [-2.0, +4.0]", ""], ["-3.0 [-5.0, -1.0]", "-10.0"],
    ]  # fmt: skip
    assert (table.index.names, table.columns.name) == (["target", "N"], "source")
    few = GAP[GAP["n_train"] == 20][::-1]
    turned = tables.text_table(few, "constraint", "target", unit="%", names={"target": "on"})
    assert turned.index.tolist() == ["untrained", "ℓ2 0.25"]
    assert turned.columns.tolist() == ["faces", "digits"] and turned.columns.name == "on"
    assert turned.to_numpy().tolist() == [["-10.0", ""], ["-3.0 [-5.0, -1.0]", "4.2 [1.0, 7.4]"]]
    short = tables.text_table(few, "constraint", "target", unit="%", digits=0)
    assert short.to_numpy().tolist() == [["-10", ""], ["-3 [-5, -1]", "4 [1, 7]"]]


@pytest.mark.parametrize("seed", range(20))
def test_each_estimate_stands_where_it_belongs(seed):
    draw = random.Random(seed)
    every = list(itertools.product("ba", (20, 5, 80), (UNTRAINED, NATURAL, ROBUST)))
    keys = draw.sample(every, draw.randint(1, len(every)))
    frame = pd.DataFrame(keys, columns=["target", "n_train", "constraint"])
    frame = frame.assign(mean=np.arange(len(keys)) / 100, low=np.nan, high=np.nan)
    by_target, by_source = (
        (["target", "n_train"], "constraint"),
        (["constraint", "target"], "n_train"),
    )
    for rows, column in (by_target, by_source):
        table = tables.text_table(frame, rows, column)
        keys = frame[rows].astype(str).itertuples(index=False, name=None)
        assert [tuple(map(str, key)) for key in table.index] == list(dict.fromkeys(keys))
        assert list(map(str, table)) == list(dict.fromkeys(map(str, frame[column])))
        cells = {value: where for where, value in np.ndenumerate(table.to_numpy()) if value}
        assert len(cells) == len(frame)
        for i, line in frame.iterrows():
            down, across = cells[f"+{i}.0"]
            found = (*table.index[down], table.columns[across])
            assert list(map(str, found)) == [str(line[name]) for name in (*rows, column)]


def test_a_table_of_one_row_of_odd_names():
    one = pd.DataFrame({"target": ["<b>\n&"], "constraint": [NATURAL], "mean": [0.5]})
    table = tables.text_table(one.assign(low=np.nan, high=np.nan), "target", "constraint")
    assert table.shape == (1, 1) and table.iloc[0, 0] == "+50.0"
    assert "<th>&lt;b&gt; &amp;</th>" in table.to_html()
    correlation = one.assign(low=0.25, high=0.75)
    assert tables.text_table(correlation, "target", "constraint", unit="").iloc[0, 0] == (
        "0.50 [0.25, 0.75]"
    )


def test_names_in_a_styled_table_are_text():
    frame = pd.DataFrame(
        {"<b>&": [0.123, np.nan], "name": ["$x$ <i>\ny", None], "best": [NATURAL, "R&D"]},
        index=pd.Index([Constraint("x<&\ny"), 0.1], name="source"),
    )
    page = tables.styled(frame, precision=1).to_html()
    cells = [html.unescape(cell) for cell in re.findall(r"<t[dh] [^>]*>([^<]*)<", page)]
    assert cells[:4] == ["\xa0", "<b>&", "name", "best"]
    assert cells[-8:] == ["x<& y", "0.1", "$x$ <i> y", "natural", "0.1", "", "", "R&D"]
    by_column = tables.styled(frame, formatter={"<b>&": "{:+.2f}"}, na_rep="–").to_html()
    assert "+0.12" in by_column and "–" in by_column


def test_a_table_is_the_same_each_time_and_its_ids_are_its_own():
    frame = pd.DataFrame({"a": [1.0, 2.0]}, index=[NATURAL, ROBUST])
    pages = [tables.styled(one).to_html() for one in (frame, frame.copy(), frame + 1)]
    assert pages[0] == pages[1]
    ids = [set(re.findall('id="([^"]*)"', page)) for page in pages]
    assert len(ids[0]) == 6 and not ids[0] & ids[2]


def test_the_names_of_rows_and_columns_are_text_too():
    frame = pd.DataFrame({"a": [1]}).rename_axis(index="<i onclick=x>", columns="<b>$x$")
    page = tables.styled(frame).to_html()
    assert "&lt;i onclick=x&gt;" in page and "&lt;b&gt;$x$" in page
    assert not re.search("<(i|b)[ >]", page)
