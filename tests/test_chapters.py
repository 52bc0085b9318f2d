"""The committed chapters: executed, up to date, well formed; and rerun with other parameters."""

import ast
import contextlib
import io
import re
import subprocess
import threading
from html.parser import HTMLParser
from pathlib import Path

import forge
import nbformat
import numpy as np
import pandas as pd
import pytest
import tables
import torch
import yaml
from click.testing import CliRunner
from papermill import inspect_notebook
from papermill.cli import papermill
from PIL import Image

from lib import datasets
from lib.book import __main__ as book
from lib.book import notebooks, publishing
from lib.book.toc import chapters
from lib.figures.estimates import Estimate
from lib.runtime import rows as kept_rows
from lib.runtime import rules
from lib.studies import claims, contrasts, inverted, measured
from lib.studies.parameters import TABLE
from lib.zoo import models, published, shipped

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = chapters(ROOT)
# As small as a chapter can be and still run every cell.
TINY_SOURCE = {
    "source_data": "microcosm", "n_source": 60, "l2": [0.3], "linf": [], "seeds": 2,
    "source_epochs": 1,
}  # fmt: skip
LEARN_MINE = {"source_data": "mine", "n_source": 0}
TINY = {
    "01_adversarial_training": {"n_attacked": 20, "steps": 2, "attack_steps": 1},
    "02_low_data_transfer": {"subsets": 1, "epochs": 2, "scratch_images": 50, "n_max": 16},
    "03_shape_bias": {
        "n_conflicts": 40, "n_tested": 20, "n_few": [10, 12], "subsets": 1, "epochs": 2,
        "target": "faces", "image_size": 36,
    },
    "07_which_source": {
        "n_labelled": 24, "rounds": 1, "depths": [0, 1], "unfrozen_images": 30, "flip_seeds": 1,
        "epochs": 2, "target": "faces", "with_ladder": True,
        "sources": "photographs natural, photographs l2 0.25",
    },
    "04_influence": {
        "target": "faces", "n_train": 10, "n_test": 10, "epochs": 3, "flip": 0.2, "image_size": 40,
        "unfrozen_blocks": 1,
    },
    "05_what_transfers": {
        "target": "faces", "curve_n": 8, "record_at": [1], "depths": [0, -1], "depth_n": [4, 8],
        "depth_epochs": 1, "kept_l2": [0.25], "n_kept": 10, "kept_steps": 1,
        "subsets": 1, "epochs": 2,
    },
    "06_features": {
        "n_matched": 10, "n_units": 2, "n_pairs": 2, "n_maps": 4, "path_steps": 3, "judges": 1,
        "image_size": 40,
    },
}  # fmt: skip


def cells(name):
    return cells_of(CHAPTERS[name])


def cells_of(path):
    nb = nbformat.read(path, as_version=4)
    return [cell for cell in nb.cells if cell.cell_type == "code"]


def defaults(name):
    return {
        key: ast.literal_eval(parameter["default"])
        for key, parameter in inspect_notebook(str(CHAPTERS[name])).items()
    }


# Several tests run at once already: none needs workers of its own, which load PyTorch again.
ENVIRONMENT = {"JUPYTER_PLATFORM_DIRS": "1", "LOKY_MAX_CPU_COUNT": "1", "PYTHONPATH": str(ROOT)}


def flags(parameters):
    """Write parameters, lists too, as papermill and the runner both take them."""
    return [flag for k, v in parameters.items() for flag in ("-y", f"{k}: {v!r}")]


@contextlib.contextmanager
def working_in(folder):
    """Let what is started meanwhile work in a folder, with the environment of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        yield


def papermill_run(notebook, out, *words, cwd=ROOT, **parameters):
    """Run papermill's command line in this process: another would load it all again."""
    command = [str(notebook), str(out), "--no-progress-bar", *words, *flags(parameters)]
    with working_in(cwd):
        done = CliRunner().invoke(papermill, command)
    return subprocess.CompletedProcess(command, done.exit_code, "", repr(done.exception))


def run(*arguments, cwd=ROOT):
    """Run a chapter by the book's command line, in this process as well."""
    command, error = ["run", *map(str, arguments)], io.StringIO()
    with working_in(cwd), contextlib.redirect_stderr(error):
        code = book.main(command)
    return subprocess.CompletedProcess(command, code, "", error.getvalue())


def executed(folder, *arguments):
    """Run a chapter from a folder into a notebook there, and return its path."""
    out = folder / "out.ipynb"
    done = run(*arguments, "--no-page", "-o", out, cwd=folder)
    assert done.returncode == 0, done.stderr
    return out


def errors(path):
    return [
        output
        for cell in cells_of(path)
        for output in cell.outputs
        if output.output_type == "error"
    ]


CODE = re.compile(r"```.*?```|`[^`]*`|\$[^$]*\$", re.DOTALL)
# What a rerun must not say: its own sources and targets have other names.
DEFAULTS = re.compile(r"\b(?:digits|faces)\b|ℓ2 0\.5\b")
MEASURED = re.compile(r"[+−-]?\d+(?:\.\d+)? (?:points|%)")


def prose(path):
    """Return the Markdown cells of a chapter up to its exercises, without code and formulas."""
    texts = []
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.source.startswith("## Exercises"):
            break
        if cell.cell_type == "markdown":
            texts.append(CODE.sub("", cell.source))
        texts.append(cell.metadata.get("mystnb", {}).get("figure", {}).get("caption", ""))
    return "\n".join(texts)


def said(path):
    """Return what the cells of a run have said of it: sentences, tables, printed lines."""
    texts = []
    for cell in cells_of(path):
        # What was measured once, and the paper, say the same in every run.
        if "photographs" not in cell.metadata.get("tags", []):
            for output in cell.outputs:
                data = output.get("data", {})
                texts.append(data.get("text/markdown", data.get("text/plain", "")))
                texts.append(output.get("text", "") if output.output_type == "stream" else "")
    return "\n".join(texts)


class Shown(HTMLParser):
    """What a reader sees of HTML, and the elements in it that would run a script."""

    def __init__(self, html):
        super().__init__()
        self.text, self.scripts = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        if tag == "script" or any(name.startswith("on") for name, _ in attrs):
            self.scripts.append(self.get_starttag_text())

    def handle_data(self, data):
        self.text.append(data)


def html_of(path):
    """Return the HTML of a run's tables and widgets."""
    nb = nbformat.read(path, as_version=4)
    outputs = [o for cell in nb.cells for o in cell.get("outputs", [])]
    models = nb.metadata.get("widgets", {}).get(notebooks.STATE, {}).get("state", {}).values()
    values = [v for m in models for v in m["state"].values() if isinstance(v, str)]
    return Shown("\n".join([o.get("data", {}).get("text/html", "") for o in outputs] + values))


def faults(path):
    """Name what a rerun should not show: errors, scripts, no answer, numbers that are none."""
    html = html_of(path)
    text = said(path) + " ".join(html.text)
    found = [f"{output.ename}: {output.evalue}" for output in errors(path)] + html.scripts
    found += re.findall(r"\bnan\b", text, re.IGNORECASE)
    found += ["no answer"] * ("stands here once" in text)
    return found + ["glue"] * ("{glue" in prose(path))


def test_no_committed_output_is_stale():
    assert publishing.stale(ROOT) == []


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_tells_a_story_and_leaves_the_logic_to_lib(name):
    for cell in cells(name):
        lines = cell.source.splitlines()
        assert not any(line.startswith(("def ", "class ", "async def ")) for line in lines)
        # One parameter a line, and a rule for each: that cell may be longer.
        limit = {"setup": 12, "parameters": 35}.get(cell["id"], 25)
        assert len(lines) <= limit, f"{name}, cell {cell['id']}: {len(lines)} lines"
        if "parameters" not in cell.metadata.get("tags", []):
            assert max(map(len, lines)) <= 79, f"{name}, cell {cell['id']}"


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_figure_has_a_caption_and_an_alternative_text(name):
    for cell in cells(name):
        pictured = any("image/png" in output.get("data", {}) for output in cell.outputs)
        if pictured and "remove-cell" not in cell.metadata.get("tags", []):
            assert cell.metadata["mystnb"]["figure"]["caption"], cell["id"]
            assert cell.metadata["mystnb"]["image"]["alt"], cell["id"]


@pytest.mark.parametrize("name", ["01_adversarial_training", "03_shape_bias", "06_features"])
def test_what_is_trained_in_the_run_is_not_judged(name):
    """Another processor trains other networks, whose intervals may end beyond zero."""
    words = r"\b(ahead|behind|higher|lower|rises|falls)\b|can be told|(above|below) zero"
    for cell in cells(name):
        repeated = cell["id"] in ("answer", "summary")
        if not repeated and "photographs" not in cell.metadata.get("tags", []):
            texts = [o.get("data", {}).get("text/markdown", "") for o in cell.get("outputs", [])]
            assert not re.search(words, " ".join(texts)), cell["id"]


@pytest.mark.parametrize("name", CHAPTERS)
def test_an_answer_is_short(name):
    texts = [o.get("data", {}).get("text/markdown", "") for c in cells(name) for o in c.outputs]
    (answer,) = (text for text in texts if text.startswith("**In short.**"))
    intervals = re.findall(r"95 % interval|without an interval|\[[-+\d.]+, |\(interval", answer)
    assert len(intervals) <= 3, answer
    assert len(answer.split()) <= 170, answer


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_is_small_enough_to_load(name):
    assert CHAPTERS[name].stat().st_size < 2_000_000


def test_a_parameter_means_the_same_in_every_chapter():
    seen, worlds = {}, {}
    for name in CHAPTERS:
        given = defaults(name)
        # Advice is for one target, and influence is asked of drawn ones too.
        if name in ("07_which_source", "04_influence"):
            assert set(datasets.targets(given.pop("target"))) <= set(datasets.NAMES)
        # Of one world all chapters have the same ladder, and of dear models fewer are tried.
        world = worlds.setdefault(given.pop("source_data", ""), {})
        ladder = {key: given.pop(key) for key in ("l2", "linf", "seeds") if key in given}
        assert all(world.setdefault(key, value) == value for key, value in ladder.items()), name
        for key, value in given.items():
            if key not in ("subsets", "lr_factors"):
                assert seen.setdefault(key, value) == value, f"{key} in {name}"
    assert set(worlds) == {"", "microcosm", shipped.PHOTOGRAPHS}


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_parameter_is_explained_as_in_the_table(name):
    for key, parameter in inspect_notebook(str(CHAPTERS[name])).items():
        assert parameter["help"] == TABLE[key].meaning


@pytest.mark.parametrize("name", CHAPTERS)
def test_prose_holds_no_number_and_no_name_of_the_default_run(name):
    text = prose(CHAPTERS[name])
    # 95 % is that of all intervals; other shares belong to definitions.
    assert set(MEASURED.findall(text)) <= {"95 %", "100 %", "50 %", "25 %", "10 %", "5 %", "0 %"}
    assert not re.findall(r"ℓ[2∞] \d", text)
    assert "{glue" not in text


@pytest.mark.parametrize("name", CHAPTERS)
def test_code_that_a_page_hides_is_collapsed_in_jupyter_too(name):
    for cell in cells(name):
        hidden = any(t.startswith(("hide-", "remove-")) for t in cell.metadata.get("tags", []))
        assert bool(cell.metadata.get("jupyter", {}).get("source_hidden")) == hidden, cell["id"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("08_does_it_hold", {}),
        (
            "02_low_data_transfer",
            {**TINY_SOURCE, **TINY["02_low_data_transfer"], "seeds": 1, "target": "faces"},
        ),
    ],
)
def test_papermill_reruns_a_chapter_from_chapters_and_from_elsewhere(name, given, tmp_path):
    places = {
        "chapters": (ROOT / "chapters", f"{name}.ipynb"),
        "elsewhere": (tmp_path, CHAPTERS[name]),
    }
    for place, (cwd, notebook) in places.items():
        out = tmp_path / f"{place}.ipynb"
        done = papermill_run(notebook, out, cwd=cwd, **given)
        assert done.returncode == 0, done.stderr[-2000:]
        assert faults(out) == []
    runs = [notebooks.normalised(notebooks.read(tmp_path / f"{place}.ipynb")) for place in places]
    assert runs[0] == runs[1]  # the same bytes, wherever and however often


@pytest.mark.parametrize("name", TINY)
def test_a_rerun_speaks_of_itself_alone(name, tmp_path):
    """On a folder whose names are no Markdown, from other sources, with one seed."""
    out, folder = tmp_path / "out.ipynb", tmp_path / "cats_&_*dogs*<img src=x onerror=alert(1)>"
    image_folder(folder, ["$5_$10", "a<b & `c`|d\n*e* $x$"], each=20)
    given = {**TINY_SOURCE, **TINY[name], "seeds": 1}
    given = {key: value for key, value in given.items() if key in defaults(name)}
    given |= {"target": str(folder)} if "target" in given or "target" in defaults(name) else {}
    done = papermill_run(CHAPTERS[name], out, **given)
    assert done.returncode == 0, done.stderr[-2000:]
    assert faults(out) == []
    text = said(out)
    assert not DEFAULTS.findall(text)
    assert "ℓ2 0.3" in text
    if "target" in given:
        assert r"cats\_\&\_\*dogs\*" in text


def test_chapter_08_judges_tables_of_ones_own(tmp_path):
    strange = "a<b & `c`|d *e* $x$"
    tables.write(tmp_path, seeds=6, targets=("one", "two", strange))
    out = executed(tmp_path, "08", "-p", "results", tmp_path)
    assert faults(out) == []
    text = said(out)
    assert "As a mean over 3 targets and the sizes, ℓ2 0.25 is 3.0 points ahead of" in text
    assert "6 of 6 seeds above 0" in text
    assert "Nothing was run for 2 of the claims: faster and which constraint" in text
    assert "noise 0.1 − natural: " in text and "- ℓ2 0.25 − noise 0.1: " in text
    assert "natural sources in *heads* move by" in text
    assert not any(title in text for title in measured.TITLES.values())


def test_photographs_are_looked_for_as_chapter_06_does():
    steps, size = (defaults("06_features")[name] for name in ("path_steps", "path_size"))
    assert {"steps": steps, "size": size} == inverted.SEARCH


def test_the_verdicts_that_are_read_follow_from_the_committed_rows():
    said_there = said(CHAPTERS["08_does_it_hold"])
    for world in ("photographs", "microcosm"):
        for row in claims.judge(contrasts.effects(world)).itertuples():
            cell = f"**{row.verdict}**, {Estimate(row.mean, row.low, row.high):short}"
            assert cell in said_there


@pytest.mark.long
@pytest.mark.parametrize("unfrozen_blocks", [0, 1])
def test_chapter_04_runs_with_other_parameters(tmp_path, unfrozen_blocks):
    name = "04_influence"
    out = tmp_path / "out.ipynb"
    tiny = {**TINY_SOURCE, **TINY[name], "unfrozen_blocks": unfrozen_blocks}
    file = str(tmp_path / "rows.jsonl")
    done = papermill_run(CHAPTERS[name], out, **tiny, rows_file=file)
    assert done.returncode == 0, done.stderr[-2000:]
    assert faults(out) == []
    measured = {"matches", "retrained", "random labels", "wrong labels", "beyond the head"}
    assert set(kept_rows.read(file)["experiment"]) == measured


@pytest.mark.parametrize("unfrozen_blocks", [1, pytest.param(-1, marks=pytest.mark.long)])
def test_chapter_02_takes_a_folder_of_images_and_unfreezes_blocks(tmp_path, unfrozen_blocks):
    folder = image_folder(tmp_path / "my images")
    arguments = {**TINY_SOURCE, **TINY["02_low_data_transfer"], "n_max": 0}
    out = executed(
        tmp_path,
        "02", "-p", "target", "my images", "-p", "unfrozen_blocks", unfrozen_blocks,
        "-p", "rows_file", "rows.jsonl", *flags(arguments),
    )  # fmt: skip
    assert folder.name in str(nbformat.read(out, as_version=4))
    assert "my images: images of each class: left 8, right 8" in said(out)
    rows = kept_rows.read(tmp_path / "rows.jsonl")
    assert set(rows["target"]) == {folder.name} and set(rows["n_source"]) == {60}
    assert {"natural", "l2 0.3", "untrained", "from scratch"} == set(rows["constraint"])


@pytest.mark.long
def test_chapter_03_takes_photographs_and_published_stimuli(tmp_path):
    image_folder(tmp_path / "mine")
    stimuli(tmp_path / "stimuli", "left", "right")
    arguments = {**TINY_SOURCE, **TINY["03_shape_bias"], **LEARN_MINE, "n_few": [4, 8]}
    out = executed(
        tmp_path,
        "03", "-p", "conflicts", "stimuli",
        "-p", "rows_file", "rows.jsonl", *flags(arguments),
    )  # fmt: skip
    rows = kept_rows.read(tmp_path / "rows.jsonl")
    assert set(rows["experiment"]) == {"bias", "cues", "phase", "transfer"}
    assert "natural, mixed textures" not in said(out)
    assert not faults(out)


def test_chapter_03_asks_checkpoints_about_published_stimuli(tmp_path):
    image_folder(tmp_path / "mine")
    stimuli(tmp_path / "stimuli", "cat", "dog")
    (tmp_path / "to.csv").write_text("source_class,stimulus_class\nleft,dog\nright,cat\n")
    names = checkpoints(tmp_path, "natural", "l2 1", "l2 3", arch="mobilenet_v2", classes=2)
    arguments = {**TINY_SOURCE, **TINY["03_shape_bias"], **LEARN_MINE, "n_few": [4, 8]}
    out = executed(
        tmp_path,
        "03", "-p", "conflicts", "stimuli", "-p", "mapping", "to.csv",
        *flags({**arguments, "checkpoints": names, "unfrozen_blocks": 1}),
    )  # fmt: skip
    said = str([cell.get("outputs") for cell in cells_of(out)])
    assert "ℓ2 3" in said and "cat" in said and "natural, mixed textures" not in said
    assert "shape alone" in said and not faults(out)


def test_chapter_06_sees_what_checkpoints_see(tmp_path):
    names = checkpoints(tmp_path, "natural", "linf 0.0157", arch="mobilenet_v2")
    arguments = {**TINY_SOURCE, **TINY["06_features"], "n_matched": 4}
    out = executed(tmp_path, "06", *flags({**arguments, "checkpoints": names}))
    said = str([cell.get("outputs") for cell in cells_of(out)])
    assert (
        "ℓ∞ 4/255" in said
        and "judges of the texture" in said
        and "natural, mixed textures" not in said
    )
    assert not faults(out)


@pytest.mark.long
def test_checkpoints_of_other_classes_are_one_line(tmp_path):
    names = checkpoints(tmp_path, "natural", "l2 3", arch="resnet18", classes=4)
    few = ["-p", "n_source", 60, "-y", "n_few: [10, 12]"]
    done = run("03", *few, "-p", "checkpoints", names, cwd=tmp_path)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error")]
    assert done.returncode == 1 and "natural tells 4 classes apart" in line and "has 10" in line
    assert "Traceback" not in done.stderr


@pytest.mark.long
def test_chapter_06_takes_photographs(tmp_path):
    image_folder(tmp_path / "mine")
    arguments = {**TINY_SOURCE, **TINY["06_features"], **LEARN_MINE, "n_matched": 4}
    out = executed(
        tmp_path,
        "06", "-p", "path_radius", 0.5, *flags(arguments),
    )  # fmt: skip
    assert "judges of the class" in str([cell.get("outputs") for cell in cells_of(out)])
    assert not faults(out)


def test_chapter_07_advises_on_a_folder_and_takes_a_checkpoint(tmp_path):
    image_folder(tmp_path / "my images")
    weights = models.build("small_resnet", 4, seed=1, width=16).state_dict()
    torch.save(weights, tmp_path / "mine.pt")
    tiny = {k: v for k, v in {**TINY_SOURCE, **TINY["07_which_source"]}.items() if k != "seeds"}
    tiny = {k: v for k, v in tiny.items() if k not in ("target", "n_labelled", "sources")}
    out = executed(
        tmp_path,
        "07", "-p", "target", "my images", "-p", "sources", "small_resnet:mine.pt",
        "-p", "labels_file", "labels.csv", *flags(tiny | {"depths": [0, -1]}),
    )  # fmt: skip
    shown = str([cell.get("outputs") for cell in cells_of(out)])
    assert "mine" in shown and "-m lib.advisor fit 'my images'" in shown.replace("\\", "")
    assert "left/" in shown or "right/" in shown  # doubtful images are named by their files
    told = said(out)
    assert "16 labelled images of 2 classes; chance is 50 %" in told
    assert "Fewer than 10 images tell next to nothing of a class: left (8) and right (8)" in told
    assert "(from scratch) with everything trained" in told and not faults(out)
    labels = (tmp_path / "labels.csv").read_text(encoding="utf-8").splitlines()
    assert len(labels) == 17 and str(tmp_path / "my images") in labels[1]
    done = run(
        "07",
        "-p",
        "with_ladder",
        "False",
        "-p",
        "sources",
        "",
        "-p",
        "target",
        "my images",
        cwd=tmp_path,
    )
    assert done.returncode == 1 and "name sources" in done.stderr


@pytest.mark.long
@pytest.mark.parametrize(("left", "right"), [(4, 4), (96, 4)])
def test_chapter_07_says_what_so_few_images_cannot_tell(tmp_path, left, right):
    image_folder(tmp_path / "mine", ["left"], each=left)
    image_folder(tmp_path / "mine", ["right"], each=right)
    tiny = {k: v for k, v in {**TINY_SOURCE, **TINY["07_which_source"]}.items() if k != "seeds"}
    tiny = {k: v for k, v in tiny.items() if k not in ("target", "n_labelled")}
    tiny["with_ladder"] = left > 4  # it is not asked by default
    told = said(out := executed(tmp_path, "07", "-p", "target", "mine", *flags(tiny)))
    assert not faults(out) and "right (4)" in told
    share = f"{max(left, right) / (left + right):.0%}".replace("%", " %")
    assert f"the largest class, left, has {share}" in told
    naive = f"always naming the largest class, which is right for {share[:-2]}.0 %"
    assert f"not surely better than {naive}" in told
    assert ("too few to follow how the accuracy grows" in told) == (left == 4)
    assert not re.search(r"(\d+\.\d) \[\1, \1\]|interval ([+-]?\d+\.\d) to \2\)", told)


# What the protocol leaves open: small files in the place of the published ones, and few images.
QUICK = {
    "paper_04": {"n_train": 10, "n_test": 10, "epochs": 2, "flip": 0.2},
    "paper_02": {"n_max": 8, "n_min": 4, "n_all": False, "epochs": 2, "subsets": 1},
    "paper_05": {
        "n_min": 4, "curve_n": 4, "record_at": [1], "depth_n": [4], "epochs": 2, "depth_epochs": 1,
        "subsets": 1, "n_kept": 4, "kept_steps": 1, "kept_l2": [0.5],
    },
}  # fmt: skip


@pytest.mark.parametrize("size", [64, pytest.param(224, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    "protocol", ["paper_02", *(pytest.param(f"paper_0{n}", marks=pytest.mark.long) for n in "45")]
)
def test_the_protocol_of_the_paper_runs_on_published_files(tmp_path, protocol, size):
    # Influence through a block takes the longer the more channels it has.
    small = "mobilenet_v2" if protocol == "paper_04" else "resnet18"
    arch = "resnet50" if size == 224 else small
    image_folder(tmp_path / "mine", each=10)
    names = checkpoints(tmp_path, "natural", "l2 3", "linf 0.0157", arch=arch)
    given = {**QUICK[protocol], "n_source": 20, "image_size": size}
    if arch == small:  # has fewer blocks
        # Of the depths one is more than the small network of the ladder has.
        given |= {"unfrozen_blocks": 1} | ({"depths": [0, 6]} if protocol == "paper_05" else {})
    out = executed(
        tmp_path,
        protocol[-2:], "-f", ROOT / "data" / "protocols" / f"{protocol}.yaml", "-p", "target",
        "mine", "-p", "checkpoints", names, *flags(given),
    )  # fmt: skip
    said = str([cell.get("outputs") for cell in cells_of(out)])
    assert "ℓ2 3" in said and "ℓ∞ 4/255" in said and not faults(out)


def given_by(protocol):
    """Read a protocol, whose names are all parameters of its chapter."""
    (name,) = [name for name in CHAPTERS if name.startswith(protocol[-2:])]
    text = (ROOT / "data" / "protocols" / f"{protocol}.yaml").read_text(encoding="utf-8")
    given = yaml.safe_load(text)
    assert set(given) <= set(defaults(name))
    return given


@pytest.mark.parametrize("protocol", QUICK)
def test_a_protocol_names_parameters_of_its_chapter_and_published_files(protocol):
    given = given_by(protocol)
    assert set(rules.listed(given["checkpoints"])) <= set(published.published())
    assert all(datasets.find(target) for target in datasets.targets(given["target"]))
    kinds = {type(value) for value in given.values()}
    assert kinds <= {int, float, bool, str, list}


def checkpoints(folder, *constraints, arch, classes=10):
    """Write a file of each constraint, and name them as the parameter `checkpoints` does."""
    names = []
    for seed, constraint in enumerate(constraints):
        path = published_file(folder / f"{seed}.ckpt", f"torchvision:{arch}", seed, classes)
        names.append(f"{constraint}=torchvision:{arch}:{path.name}")
    return ", ".join(names)


def published_file(path, arch, seed, classes):
    """Write random weights as the published checkpoints hold theirs."""
    model = models.build(arch, classes, seed=seed)
    weights = model.state_dict()
    named = {
        f"module.{prefix}.{name}": weights[key]
        for prefix in ("model", "attacker.model")
        for name, key in model.names.items()
    }
    for name, value in (("mean", [0.485, 0.456, 0.406]), ("std", [0.229, 0.224, 0.225])):
        named[f"module.normalizer.new_{name}"] = torch.tensor(value)[:, None, None]
    args = forge.Calls("cox.utils:Parameters", {"arch": arch})
    return forge.write(path, {"model": named, "epoch": 1, "args": args})


def image_folder(path, classes=("left", "right"), each=8):
    rng = np.random.default_rng(0)
    for name in classes:
        (path / name).mkdir(parents=True)
        for i in range(each):
            pixels = rng.integers(0, 256, (20 + i, 30, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path / name / f"{i}.png")
    return path


def stimuli(folder, one, other):
    """Write stimuli of two classes, named and laid out as the published ones."""
    for shape, texture, n in ((one, other, 1), (one, other, 2), (other, one, 3)):
        file = folder / shape / f"{shape}{n}-{texture}{n}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), "olive").save(file)


def test_a_folder_may_be_called_by_a_number(tmp_path):
    image_folder(tmp_path / "2024", each=12)
    words = "-p", "target", "2024", "-p", "n_max", "5000"
    done = papermill_run(CHAPTERS["02_low_data_transfer"], "out.ipynb", *words, cwd=tmp_path)
    # It is the folder that holds too few.
    refused = done.stderr
    assert "ParameterError" in refused and "5000" in refused and "2024'" not in refused, refused


@pytest.mark.long
def test_chapters_share_a_file_of_rows_and_repeat_nothing(tmp_path):
    file, counts = tmp_path / "all.jsonl", []
    for place, name in enumerate(("02_low_data_transfer", "03_shape_bias", "02_low_data_transfer")):
        tiny = {**TINY_SOURCE, **TINY[name], "target": "faces", "rows_file": str(file)}
        out = tmp_path / f"{place}.ipynb"
        done = papermill_run(CHAPTERS[name], out, **tiny)
        assert done.returncode == 0 and faults(out) == [], done.stderr[-2000:]
        counts.append(len(kept_rows.read(file)))
    assert counts[0] < counts[1] == counts[2]
    # All but the progress of what the second time is not measured, and where objects lay.
    besides = r".+: \d+ of \d+| at 0x[0-9a-f]+|\n"
    first, again = (re.sub(besides, "", said(tmp_path / f"{i}.ipynb")) for i in (0, 2))
    assert first == again


BAD = {
    "a misspelt name": (["-p", "unfrozen_block", "1"], "did you mean unfrozen_blocks"),
    "a wrong type": (["-p", "seeds", "many"], "seeds must be a whole number"),
    "out of range": (["-p", "unfrozen_blocks", "77"], "-1 to 5"),
    "a larger N than the set": (["-p", "target", "faces", "-p", "n_max", "5000"], "140"),
    "an unknown set": (["-p", "target", "digitz"], "microcosm, digits, faces, textures"),
    "an empty folder": (["-p", "target", "empty"], "empty"),
    "a folder with one class": (["-p", "target", "one"], "1 class (left)"),
    "a table of one's own for rows": (["-p", "rows_file", "mine.csv"], "name a .jsonl file"),
    "the same, called so": (["-p", "rows_file", "mine.jsonl"], "holds no rows of this book"),
    "an unreadable image": (["-p", "target", "broken"], "3.png"),
}


@pytest.mark.long
def test_chapter_02_on_a_cluster_measures_what_it_measures_here(tmp_path):
    """Though the workers come and go, and know nothing of each other."""
    pytest.importorskip("distributed")
    from dask_processes import Dask

    tiny = flags({**TINY_SOURCE, **TINY["02_low_data_transfer"], "target": "faces"})
    (tmp_path / "dask").mkdir()
    with contextlib.closing(Dask(tmp_path / "dask")) as cluster:
        gone, _ = cluster.worker(), cluster.worker()
        ended = threading.Timer(20, gone.kill)
        ended.start()
        for name, where in (("there", ["-p", "cluster", cluster.address]), ("here", [])):
            executed(tmp_path, "02", *tiny, "-p", "rows_file", f"{name}.jsonl", *where)
        ended.join()
    there, here = (kept_rows.read(tmp_path / f"{name}.jsonl") for name in ("there", "here"))
    keys = ["experiment", "constraint", "source_seed", "target", "n_train", "lr", "subset_seed"]
    there, here = (rows.sort_values(keys).reset_index(drop=True) for rows in (there, here))
    pd.testing.assert_frame_equal(
        there[[*keys, "clean_accuracy"]], here[[*keys, "clean_accuracy"]], check_exact=True
    )


# What the tests of rules, of folders and of rows refuse as well, in a chapter now and then.
KNOWN = (
    "a wrong type", "out of range", "an unknown set", "a folder with one class", "an empty folder",
    "a larger N than the set", "a table of one's own for rows", "the same, called so",
)  # fmt: skip


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.long] * (kind in KNOWN)) for kind in BAD]
)
def test_bad_input_is_one_line_and_nothing_is_written(kind, tmp_path):
    arguments, said = BAD[kind]
    (tmp_path / "empty").mkdir()
    image_folder(tmp_path / "one", ["left"])
    (image_folder(tmp_path / "broken") / "left" / "3.png").write_text("no image")
    for name in ("mine.csv", "mine.jsonl"):
        (tmp_path / name).write_text("patient,age\n17,60\n")
    out = tmp_path / "out.ipynb"
    out.write_text("kept")
    done = run("02", *arguments, "-o", out, cwd=tmp_path)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("error")]
    assert len(lines) == 1 and said in lines[0], done.stderr
    assert "Traceback" not in done.stderr
    assert out.read_text() == "kept"
    assert {f.read_text() for f in tmp_path.glob("mine.*")} == {"patient,age\n17,60\n"}


def test_chapter_04_refuses_few_images_before_anything_is_measured(tmp_path):
    """A folder may hold fewer than the rule of n_train asks for."""
    image_folder(tmp_path / "few", each=3)
    done = run("04", "-p", "target", "few", "-o", tmp_path / "out.ipynb", cwd=tmp_path)
    assert done.returncode == 1
    assert "error: 04_influence: 4 training images; allowed are 5 and more" in done.stderr


def test_an_unknown_chapter_is_named_and_the_known_are_listed():
    done = run("09")
    assert done.returncode == 1
    assert all(name in done.stderr for name in CHAPTERS)
