import csv
import os
import re
import shlex
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lib.advisor import __main__ as program
from lib.advisor import exported, fine_tuning, starts
from lib.datasets import labelled
from lib.runtime import files
from lib.tuning import Recipe, freeze_below, outputs, tune
from lib.zoo import models

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {"epochs": 3, "lr": 0.05, "batch_size": 16}


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """A folder of two classes, dark and light, of several sizes."""
    root = tmp_path_factory.mktemp("data") / "my images"
    rng = np.random.default_rng(0)
    for name, low in (("dark", 0), ("light", 150)):
        (root / name).mkdir(parents=True)
        for i in range(12):
            pixels = rng.integers(low, low + 100, (30 + i, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A source that takes no training: a file of random weights."""
    path = tmp_path_factory.mktemp("weights") / "start.pt"
    torch.save(models.build("small_resnet", 4, seed=1, width=16).state_dict(), path)
    return f"small_resnet:{path}"


@pytest.fixture(scope="module")
def saved(mine, checkpoint, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "mine.pt2"
    arguments = ["fit", str(mine), "--source", checkpoint, "--unfrozen-blocks", "1"]
    assert program.main([*arguments, "--epochs", "40", "--out", str(out), "--device", "cpu"]) == 0
    return out


@pytest.mark.parametrize("unfrozen_blocks", [0, 2, -1])
def test_the_network_is_the_frozen_trunk_with_the_tuned_tail(mine, unfrozen_blocks):
    images, _ = labelled.load(mine)
    source = models.build("small_resnet", 5, seed=0, width=8).eval()
    before = {name: value.clone() for name, value in source.state_dict().items()}
    network, fitted = fine_tuning.fine_tune(
        source, images, unfrozen_blocks=unfrozen_blocks, seed=7, **SETTINGS
    )
    above, (below,) = freeze_below(source, unfrozen_blocks, [images])
    ((tail, expected),) = tune(above, [below], images.y[None], 2, Recipe(**SETTINGS), seeds=[7])
    with torch.no_grad():
        assert torch.allclose(network(images.x / 255), outputs(tail, [below]), atol=1e-5)
    assert fitted == expected and not network.training
    assert all(torch.equal(before[name], value) for name, value in source.state_dict().items())
    with pytest.raises(ValueError, match="epochs is 0"):
        fine_tuning.fine_tune(source, images, epochs=0)


def test_networks_of_other_libraries_are_put_together_too(mine, tmp_path):
    pytest.importorskip("timm")
    images, _ = labelled.load(mine)
    for arch in ("torchvision:resnet18", "timm:resnet18"):
        source = models.build(arch, 5).eval()
        network, _ = fine_tuning.fine_tune(source, images, unfrozen_blocks=1, seed=7, **SETTINGS)
        above, (below,) = freeze_below(source, 1, [images])
        ((tail, _),) = tune(above, [below], images.y[None], 2, Recipe(**SETTINGS), seeds=[7])
        exported.save(network, tmp_path / "a.pt2", classes=images.classes, size=32)
        back, _ = exported.load(tmp_path / "a.pt2")
        with torch.no_grad():
            expected = outputs(tail, [below])
            assert torch.allclose(network(images.x / 255), expected, atol=1e-4)
            assert torch.allclose(back(images.x / 255), expected, atol=1e-4)


def test_what_was_saved_predicts_a_folder(mine, saved, tmp_path, capsys):
    assert program.main(["predict", str(saved), str(mine)]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert len(rows) == 24
    network, about = exported.load(saved)
    images, names = labelled.load(mine)
    with torch.no_grad():
        expected = network(images.x / 255).softmax(1)
    for row in rows:
        sure, answer = expected[names.index(row["file"])].max(0)
        assert row["class"] == about["classes"][answer]
        assert float(row["probability"]) == pytest.approx(float(sure), abs=1e-3)
    right = [row["file"].startswith(row["class"]) for row in rows]
    assert sum(right) >= 22
    out = tmp_path / "said.csv"
    assert program.main(["predict", str(saved), str(mine), "--out", str(out)]) == 0
    assert list(csv.DictReader(out.open(encoding="utf-8"))) == rows


def test_the_snippet_of_the_readme_says_the_same_without_this_project(mine, saved, tmp_path):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"```python\n(.*?torch\.export.*?)```", text, flags=re.DOTALL)
    (tmp_path / "mine.pt2").write_bytes(saved.read_bytes())
    Image.open(mine / "light" / "0.png").save(tmp_path / "new.jpg", quality=100)
    done = subprocess.run(
        [sys.executable, "-I", "-c", snippet], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    answer, sure = done.stdout.split()
    rows = fine_tuning.predict(*exported.load(saved), tmp_path)
    assert rows[0][:2] == ("new.jpg", answer)
    assert float(sure) == pytest.approx(rows[0][2], abs=0.05)
    chapter = (ROOT / "chapters" / "07_which_source.ipynb").read_text(encoding="utf-8")
    assert all(line.strip().replace('"', '\\"') in chapter for line in snippet.splitlines())


def test_the_command_is_the_one_that_the_parser_reads():
    defaults = {"unfrozen_blocks": 0, "epochs": 150, "lr": 0.1, "source_seed": 0}
    line = fine_tuning.command("digits", "natural", "a.pt2", **defaults)
    assert line == "python -m lib.advisor fit digits --source natural --out a.pt2"
    told = {"unfrozen_blocks": -1, "epochs": 21, "source_data": "my set", "n_source": 0}
    line = fine_tuning.command("my images", "l2 0.5", "a.pt2", **told)
    words = shlex.split(line)[4:]
    read = program.fit_command.make_context("fit", words).params
    assert {key: read[key] for key in told} == told
    assert (read["target"], read["source"], str(read["out"])) == ("my images", "l2 0.5", "a.pt2")


def test_defaults_are_those_of_the_chapters_and_of_the_sources():
    defaults = {option.name: option.default for option in program.fit_command.params}
    assert defaults | starts.load.__kwdefaults__ == defaults
    assert defaults | fine_tuning.fine_tune.__kwdefaults__ == defaults
    assert {k: v for k, v in asdict(Recipe()).items() if k in defaults}.items() <= defaults.items()
    assert defaults.keys() & asdict(Recipe()).keys() == {"epochs", "lr"}


def bad(mine, saved, checkpoint, tmp_path):
    """Command lines that fail, each with what it says."""
    broken = tmp_path / "broken"
    (broken / "a").mkdir(parents=True)
    (broken / "a" / "0.png").write_text("no image")
    (tmp_path / "empty").mkdir()
    out = ["--out", str(tmp_path / "new.pt2")]
    source = ["--source", checkpoint]
    return [
        (["fit", "nowhere", *source, *out], "there is no data set or folder 'nowhere'"),
        (["fit", str(mine), "--source", "natur", *out], "there is no source 'natur'"),
        (["fit", str(mine), *source, "--out", str(tmp_path / "new.pth")], "call it new.pt2"),
        (["fit", str(mine), *source, *out, "--unfrozen-blocks", "9"], "unfrozen_blocks is 9"),
        (["fit", str(mine), *source, *out, "--epochs", "0"], "epochs is 0"),
        (["fit", str(mine), *source, *out, "--epochs", "x"], "'x' is not a valid integer"),
        (["fit", str(mine), *out], "Missing option '--source'"),
        (["predict", "nowhere.pt2", str(mine)], "there is no file nowhere.pt2"),
        (["predict", str(saved), "nowhere"], "there is no folder of images 'nowhere'"),
        (["predict", str(saved), str(tmp_path / "empty")], "there is no folder of images"),
        (["predict", str(saved), str(broken)], "0.png cannot be read as an image"),
        (["prädict"], "No such command"),
    ]


def test_errors_are_one_line_and_nothing_is_written(mine, saved, checkpoint, tmp_path, capsys):
    lines = bad(mine, saved, checkpoint, tmp_path)
    there = sorted(tmp_path.iterdir())
    for arguments, said in lines:
        assert program.main(arguments) == 1, arguments
        errors = capsys.readouterr().err.strip().splitlines()
        assert len(errors) == 1 and errors[0].startswith("error: ") and said in errors[0], errors
    assert sorted(tmp_path.iterdir()) == there


def test_a_kill_while_it_writes_leaves_the_old_file(mine, checkpoint, tmp_path, monkeypatch):
    out = tmp_path / "mine.pt2"
    out.write_text("old")

    def killed(self, content):
        with self.open("wb") as file:
            file.write(content[:100])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", killed)
    arguments = ["fit", str(mine), "--source", checkpoint, "--epochs", "1", "--device", "cpu"]
    assert program.main([*arguments, "--out", str(out)]) == 130
    assert out.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.pt2"]
    assert files.replace.__module__ == "lib.runtime.files"


def test_the_command_line_works_as_a_program(mine, saved):
    done = subprocess.run(
        [sys.executable, "-m", "lib.advisor", "predict", str(saved), str(mine / "dark")],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("file,class,probability\n0.png,dark,")
    assert done.stderr == ""
