import csv
import io
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from own_images import draw
from PIL import Image

from lib.advisor import __main__ as program
from lib.advisor import exported, predicting
from lib.datasets import labelled
from lib.datasets.reading import read_image

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def loaded(saved):
    return exported.load(saved)


def test_what_was_saved_predicts_a_folder(mine, loaded, saved, tmp_path, capsys):
    assert program.main(["predict", str(saved), str(mine)]) == 0
    printed = capsys.readouterr()
    rows = list(csv.DictReader(printed.out.splitlines()))
    assert len(rows) == 24 and not any(row["error"] for row in rows) and printed.err == ""
    network, about = loaded
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


@pytest.mark.filterwarnings("default")
def test_what_pillow_finds_odd_is_not_said_where_the_image_is_read(loaded, tmp_path):
    broken = b"Exif\0\0II*\0\x08\0\0\0\x05\0"  # five entries, and none of them there
    Image.new("RGB", (40, 40)).save(tmp_path / "1.jpg", exif=broken)
    with warnings.catch_warnings(record=True) as said:
        (row,) = predicting.predict(*loaded, tmp_path)
    assert row.answer and not said
    with pytest.warns(UserWarning, match="EXIF"):
        read_image(tmp_path / "1.jpg", 32)


def test_a_bad_file_is_a_row_with_its_error_and_the_rest_is_kept(saved, tmp_path, capsys):
    folder = draw(tmp_path / "new", {"dark": 5})
    (folder / "dark" / "2.png").write_bytes(b"")
    latin = os.fsencode(folder / "dark") + b"/caf\xe9.png"
    Path(os.fsdecode(latin)).write_bytes((folder / "dark" / "0.png").read_bytes())
    (folder / "notes.docx").write_text("left out, and told")
    out = tmp_path / "said.csv"
    assert program.main(["predict", str(saved), str(folder), "--out", str(out)]) == 1
    rows = {row["file"]: row for row in csv.DictReader(out.open(encoding="utf-8"))}
    assert set(rows) == {*(f"dark/{i}.png" for i in range(5)), r"dark/caf\xe9.png"}
    wrong = rows.pop("dark/2.png")
    assert "2.png cannot be read" in wrong["error"] and not wrong["class"]
    assert {row["class"] for row in rows.values()} == {"dark"}
    left, error = capsys.readouterr().err.splitlines()
    assert "1 .docx" in left
    assert error == "error: 1 image(s) could not be read; their rows say why"
    assert program.main(["predict", str(saved), str(folder)]) == 1  # on the screen too
    assert len(capsys.readouterr().out.splitlines()) == 7


def test_rows_are_there_as_soon_as_they_are_known(loaded, tmp_path, monkeypatch):
    folder = draw(tmp_path / "new", {"dark": 7})
    monkeypatch.setattr(predicting, "BATCH", 2)
    rows = predicting.predict(*loaded, folder)
    out = (tmp_path / "said.csv").open("w", encoding="utf-8")

    def stopped():
        yield next(rows)
        yield next(rows)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predicting.write(stopped(), out)
    assert len((tmp_path / "said.csv").read_text(encoding="utf-8").splitlines()) == 3
    assert len(list(rows)) == 5


def test_an_answer_that_is_not_finite_is_an_error(tmp_path):
    def network(x):
        return torch.where(x.mean((1, 2, 3)) > 0.5, torch.nan, 1.0)[:, None].expand(-1, 2)

    folder = draw(tmp_path / "new", {"dark": 1, "light": 1})
    dark, light = predicting.predict(network, {"size": 8, "classes": ["a", "b"]}, folder)
    assert (dark.answer, dark.probability, dark.error) == ("a", 0.5, "")
    assert light == predicting.Row("light/0.png", error="the network's answer is not finite")


@pytest.mark.parametrize(
    ("white", "refused"),
    [(65535.0, ["unit.tif"]), (4095.0, ["unit.tif"]), (1.0, ["levels.png", "levels.tif"])],
)
def test_deep_grey_in_another_unit_than_was_learned_is_refused(tmp_path, white, refused):
    ramp = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    deep = {
        "unit.tif": ramp,
        "levels.tif": 4000 * ramp,
        "levels.png": (4000 * ramp).astype(np.uint16),
        "black.tif": 0 * ramp,
        "dark.png": (3 * ramp).astype(np.uint16) // 2,
    }
    for name, values in deep.items():
        Image.fromarray(values).save(tmp_path / name)
    about = {"size": 16, "classes": list("abcd"), "depth": (0.0, white)}
    rows = {row.file: row for row in predicting.predict(Corners(), about, tmp_path)}
    errors = {name: row.error for name, row in rows.items() if row.error}
    assert list(errors) == refused
    told = f"where 0 is black to the network and {white:g} white; scale it to these, or to 8"
    assert all(told in error for error in errors.values())


@pytest.mark.parametrize("name", ["nowhere/p.csv", "mine.pt2", "photo.png", "here.csv"])
def test_out_is_checked_before_anything_is_computed(name, saved, mine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.pt2").write_bytes(b"a network")
    Path("here.csv").mkdir()
    monkeypatch.setattr(exported, "load", lambda _: pytest.fail("too early"))
    assert program.main(["predict", str(saved), str(mine), "--out", name]) == 1
    assert Path("mine.pt2").read_bytes() == b"a network"


def turned(image, path, orientation):
    """Save an image as a camera does that was held in another way, and notes how."""
    back = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.transpose(back).save(path, "PNG", exif=exif)


def pictures(folder, image):
    """Save an image, dark at its upper left, as files that a reader may get wrong."""
    folder.mkdir()
    image.save(folder / "plain.png")
    turned(image, folder / "turned 3.png", 3)
    turned(image, folder / "turned 6.png", 6)
    opaque = Image.new("L", image.size, 0)
    opaque.paste(255, (0, 0, image.width // 2, image.height))
    clear = image.copy()
    clear.putalpha(opaque)
    clear.save(folder / "transparent.png")
    image.quantize(8).save(folder / "palette.png")
    palette = image.quantize(8)
    palette.save(folder / "palette, transparent.png", transparency=0)
    Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 16).save(
        folder / "12 bits in 16.png"
    )
    image.convert("CMYK").save(folder / "print.tif")
    image.convert("L").save(folder / "grey.png")
    return sorted(path.name for path in folder.iterdir())


class Corners(torch.nn.Module):
    """Answers with the brightness of the four quarters, so that any turn shows."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(3.0))

    def forward(self, x):
        return self.scale * torch.nn.functional.adaptive_avg_pool2d(x.mean(1), 2).flatten(1)


def test_the_snippet_of_the_readme_reads_every_image_as_the_project_does(tmp_path):
    """In an interpreter of its own that has no lib; the first difference would show in a corner."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"```python\n(.*?torch\.export.*?)```", text, flags=re.DOTALL)
    ramp = np.linspace(0, 200, 53)[:, None] * np.linspace(0.1, 1, 38)
    rows = np.stack([ramp, ramp / 2 + 20, 200 - ramp], 2).astype(np.uint8)
    names = pictures(tmp_path / "new", Image.fromarray(rows))
    depth = (0.0, 4095.0)
    about = {"classes": ["a", "b", "c", "d"], "size": 16, "depth": depth}
    exported.save(Corners(), tmp_path / "mine.pt2", **about)
    ours = {row.file: row for row in predicting.predict(Corners(), about, tmp_path / "new")}
    # The lines that load the network once, then the others for each image.
    loading, reading = snippet.split("image = ", 1)
    reading = "image = " + reading.replace('"new.jpg"', '"new/" + name')
    reading = "".join(f"    {line}\n" for line in reading.splitlines())
    code = f"{loading}for name in {names!r}:\n    print(name, end=': ')\n{reading}"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for name, line in zip(names, done.stdout.splitlines(), strict=True):
        answer, sure = line.removeprefix(f"{name}: ").split()
        assert ours[name].error == "" and answer == ours[name].answer, name
        assert float(sure) == pytest.approx(ours[name].probability, abs=2e-3), name
    plain = ours["plain.png"].probability
    assert ours["turned 3.png"].probability == pytest.approx(plain, abs=1e-6)
    assert ours["turned 6.png"].probability == pytest.approx(plain, abs=1e-6)
    assert abs(ours["transparent.png"].probability - plain) > 0.01
    chapter = (ROOT / "chapters" / "07_which_source.ipynb").read_text(encoding="utf-8")
    assert all(line.strip().replace('"', '\\"') in chapter for line in snippet.splitlines())


def test_rows_are_csv_whatever_they_say():
    rows = [predicting.Row("a,b.png", 'said "x"', 0.5), predicting.Row("c.png", error="no, it is")]
    out = io.StringIO()
    assert predicting.write(rows, out) == 1
    assert out.getvalue().splitlines() == [
        "file,class,probability,error", '"a,b.png","said ""x""",0.5000,', 'c.png,,,"no, it is"',
    ]  # fmt: skip
