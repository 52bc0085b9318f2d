import shlex
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from lib.advisor import __main__ as program
from lib.advisor import commands, fine_tuning, starts
from lib.tuning import Recipe

ROOT = Path(__file__).resolve().parents[2]


def read(line):
    """What the parser makes of a command line."""
    words = shlex.split(line)
    assert words[1:4] == ["-m", "lib.advisor", "fit"]
    return program.fit_command.make_context("fit", words[4:]).params


def test_the_command_is_the_one_that_the_parser_reads():
    defaults = {"unfrozen_blocks": 0, "epochs": 150, "lr": 0.1, "source_seed": 0}
    line = commands.fit("digits", "natural", "a.pt2", **defaults)
    assert line.endswith("-m lib.advisor fit digits --source natural --out a.pt2")
    told = {"unfrozen_blocks": -1, "epochs": 21, "source_data": "my set", "n_source": 0}
    found = read(commands.fit('my $5 "images"', "l2 0.5", "a.pt2", **told))
    assert {key: found[key] for key in told} == told
    assert (found["target"], found["source"]) == ('my $5 "images"', "l2 0.5")
    assert str(found["out"]) == "a.pt2"
    spare = {"source_seed": 2, "n_source": 9, "source_data": "photographs", "attack_steps": 3}
    book = commands.fit("digits", "photographs natural", "a.pt2", **spare)
    assert book.endswith("--source 'photographs natural' --source-seed 2 --out a.pt2")
    random = read(commands.fit("digits", "untrained", "a.pt2", **spare))
    assert random["source_data"] == "photographs" and random["n_source"] == 2500
    scratch = read(commands.fit("digits", "from scratch", "a.pt2", unfrozen_blocks=-1))
    assert starts.depth(scratch["source"], scratch["unfrozen_blocks"]) == -1


def test_defaults_are_those_of_the_chapters_and_of_the_sources():
    defaults = {option.name: option.default for option in program.fit_command.params}
    assert defaults | starts.load.__kwdefaults__ == defaults
    assert defaults["seed"] == fine_tuning.fine_tune.__kwdefaults__["seed"]
    assert starts.depth("natural", None) == fine_tuning.fine_tune.__kwdefaults__["unfrozen_blocks"]
    assert {k: v for k, v in asdict(Recipe()).items() if k in defaults}.items() <= defaults.items()
    assert defaults.keys() & asdict(Recipe()).keys() == {"epochs", "lr"}


def test_the_printed_command_works_where_it_was_printed(mine, checkpoint, tmp_path, monkeypatch):
    """In a shell that knows no environment, from the folder that the chapter ran in."""
    monkeypatch.chdir(tmp_path)
    Path("it's mine").symlink_to(mine)
    line = commands.fit("it's mine", checkpoint, "a.pt2", epochs=1, device="cpu")
    bare = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, env=bare)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("a.pt2: start, fine-tuned to 24 images of 2 classes\n")
    assert (tmp_path / "a.pt2").is_file()
    words = shlex.split(commands.predict("a.pt2", "it's mine", "said.csv"))
    read = program.predict_command.make_context("predict", words[4:]).params
    assert read == {"file": "a.pt2", "folder": "it's mine", "out": Path("said.csv")}


def test_within_the_clone_the_interpreter_is_named_from_here(monkeypatch):
    monkeypatch.setattr(sys, "executable", str(ROOT / ".venv" / "bin" / "python"))
    monkeypatch.chdir(ROOT / "chapters")
    assert shlex.split(commands.predict("a", "b", "c"))[0] == "../.venv/bin/python"
    monkeypatch.chdir("/")
    assert commands.predict("a", "b", "c").startswith(shlex.quote(sys.executable))


@pytest.mark.parametrize("name", ["from scratch", "From  Scratch"])
def test_from_scratch_everything_is_trained(name):
    assert starts.depth(name, None) == starts.depth(name, -1) == -1
    with pytest.raises(ValueError, match="from scratch everything is trained"):
        starts.depth(name, 0)
    assert starts.depth("untrained", None) == 0 and starts.depth("natural", 2) == 2
