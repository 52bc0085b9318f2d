"""What all tests of figures share: no screen, no figure left open, and Markdown as in the book."""

from pathlib import Path

import matplotlib
import pytest
import yaml
from markdown_it.renderer import RendererHTML
from myst_parser.config.main import MdParserConfig
from myst_parser.parsers.mdit import create_md_parser

matplotlib.use("Agg")

from matplotlib import pyplot as plt


@pytest.fixture(autouse=True)
def as_in_chapters():
    with matplotlib.rc_context({"text.parse_math": False}):
        yield
    plt.close("all")


@pytest.fixture
def ax():
    return plt.subplots()[1]


@pytest.fixture(scope="session")
def render():
    """Render Markdown to HTML by the parser of the book, with its extensions."""
    config = yaml.safe_load((Path(__file__).parents[2] / "_config.yml").read_text())
    extensions = set(config["parse"]["myst_enable_extensions"])
    return create_md_parser(MdParserConfig(enable_extensions=extensions), RendererHTML).render
