import warnings
from pathlib import Path

import pytest
import torch
from own_images import draw

from lib.advisor import __main__ as program
from lib.advisor import checked, exported, starts
from lib.constraint import FROM_SCRATCH, Constraint
from lib.runtime import files
from lib.zoo import models

QUICK = ["--epochs", "2", "--device", "cpu"]


def bad(mine, saved, checkpoint, tmp_path):
    """Command lines that fail, each with what it says."""
    (tmp_path / "empty").mkdir()
    out = ["--out", str(tmp_path / "new.pt2")]
    source = ["--source", checkpoint]
    few = ["--source", "untrained", "--n-source", "9999999"]
    return [
        (["fit", "nowhere", *source, *out], "there is no data set or folder 'nowhere'"),
        (["fit", str(mine), "--source", "natur", *out], "there is no source 'natur'"),
        (["fit", str(mine), *source, "--out", str(tmp_path / "new.pth")], "call it new.pt2"),
        (["fit", str(mine), *source, *out, "--unfrozen-blocks", "9"], "--unfrozen-blocks is 9"),
        (["fit", str(mine), *source, *out, "--epochs", "0"], "'--epochs': epochs must be a whole"),
        (["fit", str(mine), *source, *out, "--epochs", "x"], "'x' is not a valid integer"),
        (["fit", str(mine), *source, *out, "--lr", "1e20"], "a number from 1e-06 to 100"),
        (["fit", str(mine), *source, *out, "--lr", "nan"], "'--lr': lr must be a number from"),
        (["fit", str(mine), *source, *out, "--seed", "1" * 23], "'--seed': 1111"),
        (["fit", str(mine), *out, "--source", "photographs l2 x"], "'--source': l2 is 'x'; allow"),
        (["fit", str(mine), *out, "--source", "natural", "--device", "gpu"], "'--device': device"),
        (
            ["fit", str(mine), *out, "--source", "natural", "--source-data", "nowhere"],
            "'--source-data': there is no data set or folder 'nowhere'",
        ),
        (
            ["fit", str(mine), *out, *few, "--source-data", "faces"],
            "--n-source is 9999999; allowed are",
        ),
        (
            ["fit", str(mine), *source, *out, "--folds", "1"],
            "take 2 and more, or 0 to hold out none",
        ),
        (["predict", str(saved), str(saved)], "is a file; name the folder it is in"),
        (["fit", str(mine), *out], "Missing option '--source'"),
        (["predict", "nowhere.pt2", str(mine)], "there is no file nowhere.pt2"),
        (["predict", str(saved), "nowhere"], "there is no folder of images 'nowhere'"),
        (["predict", str(saved), str(tmp_path / "empty")], "there is no folder of images"),
        (["predict", str(saved), str(mine), "--out", "nowhere/p.csv"], "no folder for the file"),
        (["prädict"], "No such command"),
    ]


def test_errors_are_one_line_and_nothing_is_written(mine, saved, checkpoint, tmp_path, capsys):
    lines = bad(mine, saved, checkpoint, tmp_path)
    there = sorted(tmp_path.iterdir())
    for arguments, said in lines:
        assert program.main(arguments) == 1, arguments
        errors = [
            line
            for line in capsys.readouterr().err.strip().splitlines()
            if not line.startswith(("fine-tuning, epochs: ", "images of each", mine.name))
        ]
        assert len(errors) == 1 and errors[0].startswith("error: ") and said in errors[0], errors
    assert sorted(tmp_path.iterdir()) == there


@pytest.mark.parametrize(
    ("source", "options", "idle"),
    [
        ("photographs l2 0.5", ["--n-source", "2500"], "--n-source has no effect where the source"),
        ("photographs l2 0.5", ["--source-data", "faces"], "--source-data has no effect"),
        ("untrained", ["--attack-steps", "3"], "--attack-steps has no effect where the source is"),
        ("natural", ["--source-data", "photographs", "--source-epochs", "6"], "--source-epochs"),
        (None, ["--source-seed", "1"], "--source-seed has no effect where the source is 'small_"),
        (None, ["--all-images"], "--all-images has no effect without test images; leave it out"),
        (None, ["--folds", "4"], "--folds has no effect beside test images; leave it out"),
    ],
)
def test_what_would_have_no_effect_is_refused(
    source, options, idle, mine, checkpoint, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(checked, "fine_tuned", lambda *_, **__: pytest.fail("too late"))
    target = "faces" if "--folds" in options else str(mine)
    arguments = ["fit", target, "--source", source or checkpoint, "--out", str(tmp_path / "a.pt2")]
    assert program.main([*arguments, *options]) == 1
    *_, error = capsys.readouterr().err.splitlines()
    assert error.startswith(f"error: {idle}") and error.endswith("; leave it out")


def test_weights_that_are_no_numbers_are_refused_by_name(mine, tmp_path, capsys):
    model = models.build("small_resnet", 4, seed=1, width=16)
    model.blocks[0][0].weight.data[0] = float("nan")
    torch.save(model.state_dict(), tmp_path / "spoilt.pt")
    arguments = ["fit", str(mine), "--source", f"small_resnet:{tmp_path / 'spoilt.pt'}", *QUICK]
    assert program.main([*arguments, "--out", str(tmp_path / "a.pt2")]) == 1
    *_, error = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ") and "NaN or infinity in blocks.0.0.weight" in error
    assert not (tmp_path / "a.pt2").exists()


def test_it_says_how_good_the_network_is_on_unseen_images(mine, checkpoint, tmp_path, capsys):
    out = tmp_path / "a.pt2"
    arguments = ["fit", str(mine), "--source", checkpoint, "--out", str(out), "--device", "cpu"]
    assert program.main([*arguments, "--epochs", "20", "--folds", "3"]) == 0
    printed = capsys.readouterr()
    saved, right, sure, seen = printed.out.splitlines()
    assert "fine-tuned to 24 images of 2 classes" in saved and "test images" not in saved
    assert right.startswith("of 24 images held out in turn: ") and "largest class: 50.0 %" in right
    assert "it states" in sure and "without these images" in seen
    first, *_ = printed.err.splitlines()
    assert "24 labelled images of 2 classes" in first and "chance is 50 %" in first
    _, about = exported.load(out)
    assert about["held_out"]["images"] == 24 and about["depth"] == [0, 65535]
    assert "training_accuracy" not in about


def test_a_split_folder_is_tested_on_its_test_images(checkpoint, tmp_path, capsys):
    root = tmp_path / "set"
    draw(root / "train", {"dark": 8, "light": 8}, seed=0)
    draw(root / "validation", {"dark": 3, "light": 3}, seed=1)
    draw(root / "test", {"dark": 5, "light": 5}, seed=2)
    out = tmp_path / "a.pt2"
    arguments = ["fit", str(root), "--source", checkpoint, *QUICK, "--out", str(out)]
    assert program.main(arguments) == 0
    printed = capsys.readouterr()
    assert "22 images train; 10 test images only tell how good that is" in printed.err
    assert "16 training, 6 validation and 10 test images" in printed.err
    assert "fine-tuned to 22 images" in printed.out and "of 10 test images: " in printed.out
    assert "trained on them too" not in printed.out
    assert program.main([*arguments, "--all-images"]) == 0
    printed = capsys.readouterr()
    assert "fine-tuned to 32 images of 2 classes, its test images too" in printed.out
    assert "the saved one was trained on them too" in printed.out


def test_a_split_without_test_images_is_refused_before_a_source_is_trained(
    tmp_path, capsys, monkeypatch
):
    draw(tmp_path / "set" / "train", {"dark": 3, "light": 3})
    (tmp_path / "set" / "test").mkdir()
    monkeypatch.setattr(starts, "load", None)
    arguments = ["--source", "natural", "--out", str(tmp_path / "a.pt2")]
    assert program.main(["fit", str(tmp_path / "set"), *arguments]) == 1
    *_, error = capsys.readouterr().err.splitlines()
    assert error.startswith("error: the folder ") and "holds no images to test" in error


def test_a_cluster_that_is_none_is_said_before_an_image_is_read(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(program.datasets, "opened", None)
    arguments = ["--source", "natural", "--out", str(tmp_path / "a.pt2"), "--cluster", "here"]
    assert program.main(["fit", str(tmp_path), *arguments]) == 1
    assert capsys.readouterr().err.startswith("error: Invalid value for '--cluster': 'here' is no")


@pytest.mark.filterwarnings("default")
def test_a_warning_is_a_line_without_code(mine, tmp_path, capsys, monkeypatch):
    def load(*_, **__):
        warnings.warn("assumed is timm's mean", stacklevel=2)
        raise ValueError("enough")

    monkeypatch.setattr(starts, "load", load)
    assert program.main(["fit", str(mine), "--source", "natural", "--out", str(tmp_path / "a.pt2")])
    *_, note, error = capsys.readouterr().err.splitlines()
    assert (note, error) == ("note: assumed is timm's mean", "error: enough")


def test_one_image_of_a_class_is_trained_and_said(checkpoint, tmp_path, capsys):
    root = draw(tmp_path / "set", {"dark": 4, "light": 4, "lone": 1})
    arguments = ["fit", str(root), "--source", checkpoint, "--out", str(tmp_path / "a.pt2")]
    assert program.main([*arguments, *QUICK]) == 0
    printed = capsys.readouterr()
    assert "one image to train on, so never held out: lone" in printed.err
    assert "fine-tuned to 9 images of 3 classes" in printed.out
    assert "of 8 images held out in turn" in printed.out


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ℓ2 0.5", Constraint("l2", 0.5)),
        ("ℓ∞ 4/255", Constraint("linf", 4 / 255)),
        ("linf 4/255", Constraint("linf", 4 / 255)),
        ("noise 0.1", Constraint("noise", 0.1)),
        ("from scratch", FROM_SCRATCH),
    ],
)
def test_a_source_is_taken_as_figures_name_it(name, meant, mine, tmp_path, monkeypatch):
    asked = []

    def source(train, test, constraint, **how):
        asked.append(constraint)
        return models.build("small_resnet", 10, seed=0).eval(), {}

    def refused(*_, **settings):
        raise ValueError(f"unfrozen_blocks is {settings['unfrozen_blocks']}")

    monkeypatch.setattr("lib.studies.pretrained.source", source)
    monkeypatch.setattr("lib.runtime.parallel.cpu_count", lambda: 1)
    monkeypatch.setattr(checked, "fine_tuned", refused)  # the source was found
    (start,) = starts.load([name], n_source=20, device="cpu")
    assert start.constraint == meant
    assert asked == ([] if meant == FROM_SCRATCH else [meant])


def test_a_kill_while_it_writes_leaves_the_old_file(mine, checkpoint, tmp_path, monkeypatch):
    out = tmp_path / "mine.pt2"
    out.write_text("old")

    def killed(self, content):
        with self.open("wb") as file:
            file.write(content[:100])
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "check", lambda path: None)
    monkeypatch.setattr(Path, "write_bytes", killed)
    arguments = ["fit", str(mine), "--source", checkpoint, "--folds", "0", *QUICK]
    assert program.main([*arguments, "--out", str(out)]) == 130
    assert out.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.pt2"]
