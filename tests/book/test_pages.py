"""The page of a rerun: a book of one page, read alone and without the network."""

import re
from html import unescape

import nbformat.v4 as v4
import pytest
from toy_book import REPOSITORY

from lib.book import notebooks, pages

TEXT = """# A study of `eps`

As {cite}`utrera2021` say, and [the first chapter](01_adversarial_training) and [how](../made) tell;
[below](#what-it-was) and {doc}`../glossary` too.

```{literalinclude} ../lib/attacks.py
:pyobject: pgd
```

## What it was
$$ y = x $$ (eq-line)
"""
SAID = """**Ahead**: {cite}`croce2020`, {numref}`fig-one`, {eq}`eq-line`,
[a link](02_low_data_transfer).

| class | $n$ |
|---|---|
| a&lt;b | 3 |
"""
FRAME = "<table><tr><td>cats &amp; &lt;dogs&gt;</td></tr></table>"
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
    "rkJggg=="
)
GIVEN = {"target": "a <b>\n & `c`|", "eps": [0.5, 1.0], "seeds": 3}


def code(source, *data, tags=(), **metadata):
    outputs = [v4.new_output("display_data", one) for one in data]
    return v4.new_code_cell(source, metadata={"tags": [*tags], **metadata}, outputs=outputs)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The text of a page in the book's own theme, and its folder."""
    parameters = 'target: str = "all"  # set\neps: list = [0.25]  # radius\nseeds: int = 2'
    figure = {"figure": {"caption": "A figure.", "name": "fig-one"}, "image": {"alt": "a dot"}}
    warned = code("warn()")
    warned.outputs = [v4.new_output("stream", name="stderr", text="UserWarning: nothing")]
    nb = v4.new_notebook()
    nb.cells = [
        v4.new_markdown_cell(TEXT),
        code(parameters, tags=["parameters"]),
        code("hidden_too()", tags=["injected-parameters"]),
        code("say()", {"text/markdown": SAID}, tags=["remove-input"]),
        code("plot()", {"image/png": PIXEL}, mystnb=figure),
        code("hidden()", {"text/plain": "seen by nobody"}, tags=["remove-cell"]),
        code("table()", {"text/html": FRAME, "text/plain": "a table"}),
        warned,
    ]
    nb = notebooks.normalised(nb)
    nb.metadata["executed"] = {"parameters": GIVEN}
    rerun = tmp_path_factory.mktemp("runs") / "run {1}.ipynb"
    notebooks.write(nb, rerun)
    path = pages.of_rerun(rerun, REPOSITORY)
    assert path == rerun.with_suffix("") / "index.html"
    return path.read_text(encoding="utf-8"), path.parent


def test_parameters_stand_at_its_head(page):
    article = page[0].split("<article")[1]
    head, table, rest = re.split(r"<table[^>]*>(.*?)</table>", article, maxsplit=1)
    assert "A study of" in head and "utrera2021" not in head and "Utrera" in rest
    rows = [re.findall(r"<t[dh]>(.*?)</t[dh]>", row) for row in table.split("<tr>")[1:]]
    assert [[unescape(cell) for cell in row] for row in rows] == [
        ["Parameter", "in this run", "in the book"],
        ["eps", "[0.5, 1.0]", "[0.25]"],
        ["seeds", "3", "2"],
        ["target", r'"a <b>\n & `c`|"', '"all"'],
    ]


def test_what_cells_say_is_text_with_references(page):
    text = page[0]
    said = text.split("<strong>Ahead</strong>")[1].split("</p>")[0]
    assert "Croce" in said and '<span class="std std-numref">Fig. 1</span>' in said
    assert 'href="#eq-line"' in said or 'href="#equation-eq-line"' in said
    assert "{cite}" not in text and "{numref}" not in text and "<td><p>a&lt;b</p></td>" in text
    assert FRAME[7:-8] in text
    entries = re.findall(r'<dt class="bibtex label"|role="doc-biblioentry"', text)
    assert len(entries) == 2


def test_links_that_lead_off_the_page_are_text(page):
    text = page[0]
    links = re.findall(r'<a class="[^"]*reference internal[^"]*" href="([^"]*)"', text)
    anchors = {"", *re.findall(r'id="([^"]+)"', text)}
    assert "#what-it-was" in links and {link[1:] for link in links if link[:1] == "#"} <= anchors
    for words in ("the first chapter", "how", "a link"):
        assert re.search(rf'<span class="xref[^>]*>{words}</span>', text)
        assert not re.search(rf"<a [^>]*>(<span[^>]*>)?{words}<", text)


def test_code_is_folded_and_warnings_are_read(page):
    text = page[0]
    folded = re.findall(r'<div class="cell tag_hide-input[^"]*', text)
    assert len(folded) == 3 and "tag_parameters tag_hide-input" in text
    for source in ("plot", "table"):
        before = text.split(f'<span class="n">{source}</span>')[0]
        assert before.rindex("<details") > before.rindex('<div class="cell ')
    assert "hidden" not in re.sub("<[^>]*>", "", text.split("<article")[1].split("</article")[0])
    assert text.count("UserWarning: nothing") == 1 and "System Message" not in text
    assert "random_start" in text  # the code that a chapter includes


def test_it_needs_nothing_from_elsewhere(page):
    text, folder = page
    loads = re.findall(r'<(?:script|img)[^>]* src="([^"]+)"', text)
    loads += re.findall(r'<link(?![^>]*canonical)[^>]* href="([^"]+)"', text)
    assert len(loads) > 5 and not [url for url in loads if "//" in url]
    missing = [url for url in loads if not (folder / url.split("?")[0]).is_file()]
    assert missing == []
    assert (folder / "vendor").is_dir()
