"""The built pages: a strict build, then what a reader sees in a browser without a network."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

pytestmark = pytest.mark.xdist_group("site")  # the book is built once, for all of them

ROOT = Path(__file__).resolve().parent.parent
VENDOR = ROOT / "_extra" / "vendor"
BUILD = "from jupyter_book.cli.main import main; main()"
LOCAL = ("file:", "data:", "blob:", "http://localhost", "http://127.0.0.1")
SCREENS = {"wide": 1400, "narrow": 390}
FOREIGN_LINK = re.compile(r"^(https?:)?//")


def pages() -> list[str]:
    """Return the pages that the table of contents names, in its order."""
    contents = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    return re.findall(r"\b(?:root|file): *(\S+)", contents)


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """Return the folder of the pages and what the strict build said."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-c", BUILD, "build", str(ROOT), "--path-output", str(out)]
    command += ["-W", "-n", "--keep-going", "--all"]
    env = os.environ | {"NO_COLOR": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=out)
    return out / "_build" / "html", done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="session")
def site(built):
    html, code, log = built
    if code:
        pytest.fail(f"the book does not build:\n{log[-4000:]}")
    return html


def test_the_strict_build_has_no_warning(built):
    _, code, log = built
    assert "WARNING" not in log and "ERROR" not in log, log[-4000:]
    assert code == 0, log[-4000:]


class Links(HTMLParser):
    """Collects what a page loads and what it links to."""

    def __init__(self, text):
        super().__init__()
        self.loads, self.links = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "a" and "href" in attrs:
            self.links.append(attrs["href"])
        elif tag == "link" and attrs.get("rel") != "canonical":
            self.loads.append(attrs.get("href", ""))
        elif attrs.get("src"):
            self.loads.append(attrs["src"])


@pytest.mark.parametrize("page", pages())
def test_a_page_loads_only_what_lies_beside_it(site, page):
    file = site / f"{page}.html"
    found = Links(file.read_text(encoding="utf-8"))
    assert [url for url in found.loads if FOREIGN_LINK.match(url)] == []
    local = {unquote(urlsplit(url).path) for url in found.loads + found.links if is_local(url)}
    assert [path for path in sorted(local) if path and not (file.parent / path).exists()] == []


def is_local(url):
    return not urlsplit(url).scheme and not url.startswith("//")


def test_vendored_scripts_are_as_published():
    listed = re.findall(r"^([0-9a-f]{64})  (\S+)$", (VENDOR / "README.md").read_text(), re.M)
    present = {file.name for file in VENDOR.iterdir() if file.suffix in (".js", ".woff2")}
    assert {name for _, name in listed} == present
    for digest, name in listed:
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest, name


# ---- In a browser ----


def chromium():
    """Return the path of an installed Chromium, or None."""
    names = (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if name and (path := shutil.which(name))), None)


@pytest.fixture(scope="session")
def browser():
    if not chromium():
        pytest.skip("no Chromium: install one, or name it in CHROMIUM")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu"]
        running = playwright.chromium.launch(executable_path=chromium(), args=flags)
        yield running
        running.close()


@pytest.fixture
def show(browser, site):
    """Return a function that opens a page in light or dark, wide or narrow.

    The page it returns has a list `faults` of foreign requests, missing files and script errors.
    """
    contexts = []

    def open_page(name, scheme="light", width=SCREENS["wide"]):
        screen = {"width": width, "height": 900}
        contexts.append(browser.new_context(color_scheme=scheme, viewport=screen))
        page = contexts[-1].new_page()
        page.faults = faults = []
        page.on("request", lambda r: r.url.startswith(LOCAL) or faults.append(f"asks {r.url}"))
        page.on("requestfailed", lambda r: faults.append(f"misses {r.url}"))
        page.on("console", lambda m: m.type == "error" and faults.append(f"console: {m.text}"))
        page.on("pageerror", lambda error: faults.append(f"script: {error}"))
        page.goto((site / f"{name}.html").as_uri())
        page.wait_for_function(READY)
        return page

    yield open_page
    for context in contexts:
        context.close()


# Formulae are set when MathJax has started up; widgets are drawn once the page has loaded.
READY = """async () => {
    if (document.readyState !== "complete") return false;
    if (document.querySelector(".math")) {
        if (!window.MathJax?.startup?.promise) return false;
        await MathJax.startup.promise;
    }
    const views = document.querySelectorAll("script[type$='widget-view+json']");
    return [...views].every(view => view.parentElement.querySelector(".jupyter-widgets"));
}"""

# Every formula as it stands on the page, with what became of it.
FORMULAE = """() => [...document.querySelectorAll("main .math")].map(math => ({
    text: math.textContent.slice(0, 80),
    drawn: Boolean(math.querySelector("mjx-container svg")),
    wrong: Boolean(math.querySelector("[data-mjx-error], [mathcolor='red']")),  // unknown macros
}))"""

# Whatever dims or recolours a picture, on itself or on anything around it.
# A picture that is squeezed into its column lies: a disc becomes an egg, a slope a cliff.
DISTORTED = """() => [...document.querySelectorAll("main img")].filter(picture => {
    if (!picture.naturalWidth || !picture.checkVisibility()) return false
    const style = getComputedStyle(picture)
    const inner = side => parseFloat(style[side[0]]) - parseFloat(style[side[1]])
        - parseFloat(style[side[2]])
    const ratio = inner(["width", "paddingLeft", "paddingRight"])
        / inner(["height", "paddingTop", "paddingBottom"])
    return Math.abs(ratio / (picture.naturalWidth / picture.naturalHeight) - 1) > 0.02
}).map(picture => picture.src.slice(0, 80))"""

DIMMED = """() => [...document.querySelectorAll("main img")].filter(picture => {
    for (let part = picture; part; part = part.parentElement) {
        const style = getComputedStyle(part);
        if (style.filter !== "none" || style.opacity !== "1" || style.mixBlendMode !== "normal")
            return true;
    }
    return false;
}).map(picture => picture.src.slice(0, 80))"""

MISSING = """() => [...document.querySelectorAll("main img")]
    .filter(picture => picture.checkVisibility() && !picture.naturalWidth)
    .map(picture => picture.src.slice(0, 80))"""

# The contrast between the text of a control and what lies behind it, as WCAG defines it.
CONTRASTS = """() => {
    const rgb = colour => colour.match(/[\\d.]+/g).map(Number);
    const behind = part => {
        for (; part; part = part.parentElement) {
            const colour = rgb(getComputedStyle(part).backgroundColor);
            if (colour.length === 3 || colour[3] > 0) return colour;
        }
        return [255, 255, 255];
    };
    const light = ([r, g, b]) => {
        const [x, y, z] = [r, g, b].map(v => v / 255)
            .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * x + 0.7152 * y + 0.0722 * z;
    };
    const controls = document.querySelectorAll(
        ".widget-label, .widget-readout, .widget-toggle-button, .widget-dropdown select");
    return [...controls].filter(part => part.textContent).map(part => {
        const [a, b] = [light(rgb(getComputedStyle(part).color)), light(behind(part))];
        return [part.textContent, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
    });
}"""


@pytest.mark.browser
@pytest.mark.parametrize("name", pages())
def test_a_page_is_whole_and_legible_without_a_network(show, name):
    page = show(name)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function(
            "name => document.documentElement.dataset.theme === name", arg=scheme
        )
        for formula in page.evaluate(FORMULAE):
            assert formula["drawn"] and not formula["wrong"], formula
        assert page.evaluate(DIMMED) == []
        assert page.evaluate(MISSING) == []
        assert page.evaluate(DISTORTED) == []
        for text, contrast in page.evaluate(CONTRASTS):
            assert contrast >= 4.5, f"{text!r} has a contrast of {contrast:.1f} in {scheme}"
    page.set_viewport_size({"width": SCREENS["narrow"], "height": 900})
    assert page.evaluate("document.scrollingElement.scrollWidth") <= SCREENS["narrow"]
    assert page.faults == []


@pytest.mark.browser
def test_a_page_opens_in_the_dark(show):
    page = show(pages()[0], scheme="dark")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.faults == []


@pytest.mark.browser
@pytest.mark.parametrize("weight", [400, 900])
def test_the_font_of_the_controls_is_found(show, site, weight):
    page = show(with_sliders(site)[0])
    load = f"""document.fonts.load('{weight} 16px "Font Awesome 5 Free"').then(f => f.length)"""
    assert page.evaluate(load) == 1
    assert page.faults == []


@pytest.mark.browser
@pytest.mark.parametrize("width", SCREENS.values(), ids=SCREENS)
def test_a_slider_changes_the_picture(show, site, width):
    moved = 0
    for name in with_sliders(site):
        page = show(name, width=width)
        for area in page.locator(".widget-subarea:has(.noUi-handle)").all():
            handle = area.locator(".noUi-handle").first
            # It may stand at either end; neighbouring pictures may be alike.
            key = "End" if handle.get_attribute("aria-valuenow") == "0.0" else "Home"
            before = seen(area)
            handle.press(key)
            page.wait_for_timeout(200)
            assert before and seen(area) != before, f"{name}: the slider moves nothing"
            moved += 1
        assert page.faults == []
    assert moved, "the book has no figure with a slider"


def seen(area):
    """Return the addresses of the pictures that show in a part of a page."""
    return [image.get_attribute("src") for image in area.locator("img:visible").all()]


def with_sliders(site):
    """Return the pages that have a slider, judging by the widgets stored in them."""
    return [name for name in pages() if "SliderModel" in (site / f"{name}.html").read_text("utf-8")]
