"""Links lead somewhere: those inside to a file and a heading, those outside by their form."""

import re
from functools import cache
from html.parser import HTMLParser
from itertools import chain
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
import yaml
from markdown_it.renderer import RendererHTML
from mdit_py_plugins.anchors import anchors_plugin
from myst_parser.config.main import MdParserConfig
from myst_parser.parsers.mdit import create_md_parser

ROOT = Path(__file__).resolve().parent.parent
# Pages of the book may leave a suffix out; the others are read as files, where nothing adds it.
PAGES = ["intro.md", "made.md", "whole_study.md", "glossary.md"]
PAGES += sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("chapters/*.ipynb"))
FILES = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "data/README.md",
    "_extra/vendor/README.md",
]
SUFFIXES = (".md", ".ipynb")
# Directives whose body is not Markdown; that of any other may hold links.
VERBATIM = {"code", "code-block", "code-cell", "csv-table", "literalinclude", "math", "raw"}
DIRECTIVE = re.compile(r"\{([\w:-]+)\}")
HOST = re.compile(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]([a-z0-9-]*[a-z0-9])")


# ---- What a page holds ----


@cache
def parser():
    """Return a parser of the dialect that the book is written in."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    extensions = config["parse"]["myst_enable_extensions"]
    markdown = create_md_parser(MdParserConfig(enable_extensions=extensions), RendererHTML)
    return markdown.use(anchors_plugin, max_level=6)


def text(path):
    """Return the Markdown of a file; of a notebook, that of its cells and of what they display."""
    if path.suffix != ".ipynb":
        return path.read_text(encoding="utf-8")
    parts = []
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
        shown = (output.get("data", {}) for output in cell.get("outputs", []))
        parts += [data["text/markdown"] for data in shown if "text/markdown" in data]
    return "\n\n".join(parts)


def tokens(markdown):
    """Yield all tokens, those within paragraphs and within directives too."""
    for token in parser().parse(markdown):
        yield token
        yield from token.children or []
        directive = DIRECTIVE.match(token.info) if token.type.endswith("fence") else None
        if directive and directive[1] not in VERBATIM:
            yield from tokens(token.content)


class Html(HTMLParser):
    """Collects where HTML within Markdown leads, and the names it gives."""

    def __init__(self, html):
        super().__init__()
        self.links, self.names = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        self.names += [value for name, value in attrs if name in ("id", "name") and value]


@cache
def content(path):
    """Return the links of a file, the anchors in it, and what looks like a link and is none."""
    links, anchors, broken = [], set(), []
    for token in tokens(text(path)):
        if token.type in ("link_open", "image"):
            links.append(token.attrs["href" if token.type == "link_open" else "src"])
        elif token.type in ("html_block", "html_inline"):
            html = Html(token.content)
            links += html.links
            anchors.update(html.names)
        elif token.type == "heading_open":
            anchors.add(token.attrs["id"])
        elif token.type == "myst_target":
            anchors.add(token.content)
        elif token.type == "inline":
            plain = "".join(c.content if c.type == "text" else " " for c in token.children)
            broken += re.findall(r"\]\(.{0,60}", plain)
    return links, anchors, broken


# ---- What may be wrong with it ----


def outside(link):
    """Return what is wrong with the form of a link that leaves the project, or None."""
    try:
        parts = urlsplit(link)
        host, _ = parts.hostname or "", parts.port  # the port is only looked at when asked for
    except ValueError as error:
        return str(error)
    if parts.scheme != "https":
        return "not https"
    if not HOST.fullmatch(host):
        return "no host"
    if re.search(r"\s|%20", link):
        return "a space in it"
    if link[-1] in ".,;:!?'\"":
        return "punctuation at its end"
    return None


def inside(link, path, root, page):
    """Return what is wrong with a link to a file or a heading of the project, or None."""
    parts = urlsplit(link)
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not parts.path and not parts.fragment:
        return "empty"
    if parts.path.startswith("/") or not target.is_relative_to(root):
        return "leads out of the project"
    names = [target, *(target.with_name(target.name + s) for s in SUFFIXES if page)]
    found = next((name for name in names if name.is_file()), None)
    if found is None:
        return None if target.is_dir() and not page else "no such file"
    if parts.fragment and found.suffix not in SUFFIXES:
        return "an anchor in a file without headings"
    if parts.fragment and unquote(parts.fragment) not in content(found)[1]:
        return "no such heading"
    return None


def faults(path, root=ROOT, page=False):
    """List what is wrong with the links of a file."""
    links, _, broken = content(path)
    found = [f"not a link: {part}" for part in broken]
    for link in links:
        parted = re.match(r"[a-zA-Z][\w+.-]*:|//", link)
        fault = outside(link) if parted else inside(link, path, root, page)
        found += [f"{fault}: {link}"] if fault else []
    return found


@pytest.mark.parametrize("name", PAGES + FILES)
def test_links_lead_somewhere(name):
    assert faults(ROOT / name, page=name in PAGES) == []


def test_every_reference_is_cited():
    """In a page, or, where it is a data set's, in the table that lists these."""
    keys = re.findall(r"^@\w+\{([\w-]+),", (ROOT / "references.bib").read_text("utf-8"), re.M)
    cited = "\n".join(text(ROOT / name) for name in [*PAGES, "data/README.md"])
    assert len(keys) > 50
    assert [key for key in keys if not re.search(rf"\b{key}\b", cited)] == []


def test_there_are_links_of_every_kind():
    links = [*chain.from_iterable(content(ROOT / name)[0] for name in PAGES + FILES)]
    assert len(content(ROOT / "README.md")[0]) > 3
    assert any(link.startswith("https://") for link in links)
    assert any(link.endswith(".md") for link in links)
    assert any(not Path(link).suffix for link in links)
    chapters = [name for name in PAGES if name.endswith(".ipynb")]
    assert chapters and all(content(ROOT / name)[0] for name in chapters)


# ---- The checker, checked ----

OTHER = "# Another page\n\n## What ε is\n\n## What ε is\n\n(by-name)=\n\nText.\n"


@pytest.fixture
def check(tmp_path):
    """Return a function that lists the faults of a text, beside which lies other.md."""
    (tmp_path / "other.md").write_text(OTHER, encoding="utf-8")
    (tmp_path / "data.csv").touch()

    def run(markdown, *, page=True, name="page.md"):
        path = tmp_path / "sub" / name
        path.parent.mkdir()
        if path.suffix == ".ipynb":
            cells = [nbformat.v4.new_markdown_cell(markdown)]
            nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
        else:
            path.write_text(markdown, encoding="utf-8")
        return faults(path, tmp_path, page)

    return run


@pytest.mark.parametrize(
    "link",
    [
        "[a](../other.md)",
        "[a](../other)",
        "[a](../other.md#what-ε-is)",
        "[a](../other#what-%CE%B5-is-1)",
        "[a](../other#by-name)",
        "[a](../data.csv)",
        "[a](#here)\n\n# Here",
        "<https://a.example/b_(c)>",
        "[a](https://a.example:8080/b?c=d#e)",
        "[a][b]\n\n[b]: https://a.example",
        "`[a](nowhere)`",
        "```\n[a](nowhere)\n```",
        "$[a](nowhere)$",
        "```{math}\n[a](nowhere)\n```",
    ],
)
def test_a_good_link_passes(check, link):
    assert check(link) == []


@pytest.mark.parametrize(
    ("link", "fault"),
    [
        ("[a](nowhere)", "no such file"),
        ("[a](..)", "no such file"),
        ("[a](../other.ipynb)", "no such file"),
        ("![a](picture.png)", "no such file"),
        ("[a][b]\n\n[b]: nowhere.md", "no such file"),
        ('<a href="nowhere.md">a</a>', "no such file"),
        ("| a |\n|---|\n| [a](nowhere) |", "no such file"),
        ("```{note}\n[a](nowhere)\n```", "no such file"),
        (":::{note}\n```{tip}\n[a](nowhere)\n```\n:::", "no such file"),
        ("[a](#there)", "no such heading"),
        ("[a](../other#there)", "no such heading"),
        ("[a](../other#what-ε-is-2)", "no such heading"),
        ("[a](../data.csv#there)", "an anchor in a file without headings"),
        ("[a]()", "empty"),
        ("[a](/other.md)", "leads out of the project"),
        ("[a](../../other.md)", "leads out of the project"),
        ("[a](no where.md)", "not a link"),
        ("[a](https://a.example/b c)", "not a link"),
        ("[a](<https://a.example/b c>)", "a space in it"),
        ("[a](http://a.example)", "not https"),
        ("[a](//a.example)", "not https"),
        ("[a](htps://a.example)", "not https"),
        ("[a](https://example)", "no host"),
        ("[a](https:///b)", "no host"),
        ("[a](https://a..example)", "no host"),
        ("[a](https://a.example:port)", "Port could not be cast"),
        ("[a](https://a.example/b.)", "punctuation at its end"),
    ],
)
@pytest.mark.parametrize("name", ["page.md", "page.ipynb"])
def test_a_bad_link_is_named(check, link, fault, name):
    (found,) = check(link, name=name)
    assert found.startswith(fault)


def test_only_pages_leave_a_suffix_out(check):
    assert check("[a](../other) [a](..)", page=False) == ["no such file: ../other"]


def test_what_a_cell_displays_is_read_too(tmp_path):
    data = {"text/markdown": "[a](nowhere)"}
    output = nbformat.v4.new_output("display_data", data=data)
    cell = nbformat.v4.new_code_cell("'[a](elsewhere)'", outputs=[output])
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "page.ipynb")
    assert faults(tmp_path / "page.ipynb", tmp_path, page=True) == ["no such file: nowhere"]
