"""The benchmarks run, on tiny sizes, and rivals find the same. Times are not tested."""

import pandas as pd
import pytest
import torch
from torch import nn

from benchmarks import __main__ as command
from benchmarks import whole
from benchmarks.measure import (
    COLUMNS,
    count_input_gradient,
    count_operations,
    measured,
    of_peak,
    peak,
    row,
    table,
)

CHECKED = {
    "pgd": 4,
    "robust_accuracy": 8,
    "adversarial_epoch": 0,
    "fine_tuning": 4,
    "augmentation": 1,
    "influence": 1,
    "microcosm": 1,
    "folders": 1,
    "sweep": 0,
    "variants": 3,
    "clusters": 1,
}
"""How many rows of each claim, at least, compare results that must agree."""


def test_every_claim_is_listed():
    assert set(command.CLAIMS) == set(CHECKED)


DEAR = {
    # Loads PyTorch into workers of two kinds; that these agree is tested elsewhere too.
    "clusters": [pytest.mark.long],
    # Loads and runs two peers' libraries; the scores are held to retraining elsewhere.
    "influence": [pytest.mark.long],
}


@pytest.mark.parametrize(
    "claim", [pytest.param(name, marks=DEAR.get(name, [])) for name in command.CLAIMS]
)
def test_a_claim_runs_and_rivals_agree(claim):
    rows = measured([claim], quick=True)
    for found in rows:
        assert list(found) == list(COLUMNS)
        assert found["ratio"] > 0 and (found["met"] is None) == (found["aim"] == "")
        # What the rounding of bf16 changes is what that row tells.
        assert found["agree"] is not False or "bf16" in found["what"], found
    assert sum(found["agree"] is True for found in rows) >= CHECKED[claim]


def test_a_ratio_is_the_median_of_the_rounds_and_held_against_the_aim():
    below = row("a", "b", [1, 2, 30], [2, 2, 2], "≤ 1.05")
    assert below["ratio"] == 1 and below["met"] is True and below["ours"] == "2 s"
    assert row("a", "b", [3, 3, 3], [2, 2, 2], "≤ 1.05")["met"] is False
    above = row("a", "b", [1, 2, 1], [30, 40, 10], "≥ 20")
    assert above["ratio"] == 20 and above["met"] is True
    assert row("a", "b", 1, 10, "≥ 20")["met"] is False
    assert row("a", "b", 4, 2)["ratio"] == 2 and row("a", "b", 4, 2)["met"] is None


def test_operations_are_those_of_the_matrix_products():
    n, d, k = 3, 5, 7
    model, x = nn.Sequential(nn.Flatten(), nn.Linear(d, k)), torch.rand(n, d, 1, 1)
    once = 2 * n * d * k
    assert count_operations(lambda: model(x)) == once
    assert count_input_gradient(model, x, torch.arange(n)) == 2 * once
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


def test_a_share_of_the_peak_is_of_the_median_and_names_each_peak_once():
    assert of_peak((1e9, [0.1, 0.1, 9], 1e11), (1e9, [0.2], 1e11)) == "10%, 5% of 100 GFLOP/s"
    both = of_peak((1e9, [0.1], 4e11), (1e9, [0.2], 1e11))
    assert both == "2% of 400 GFLOP/s, 5% of 100 GFLOP/s"
    assert 1e7 < peak(torch.device("cpu"), quick=True) < 1e14


def test_the_table_is_markdown_with_a_line_a_row():
    rows = [
        row("what", "peer", 1, 4, "≥ 2", results="x, y", agree=True),
        row("other", "peer", 1, 2),
    ]
    lines = table(rows).splitlines()
    assert len(lines) == 4 and len({len(line) for line in lines}) == 1
    assert [cell.strip() for cell in lines[2].strip("|").split("|")] == [
        "what", "peer", "1 s", "4 s", "4", "≥ 2", "yes", "x, y", "yes",
    ]  # fmt: skip
    assert [cell.strip() for cell in lines[3].strip("|").split("|")][5:] == ["", "", "", ""]


def test_the_command_prints_the_table_and_writes_it(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "measured", lambda names, quick: [row(*names, "peer", 1, 2)])
    command.main(["pgd", "--out", str(tmp_path / "table.md")])
    printed = capsys.readouterr().out
    assert "| pgd " in printed and "torch 2" in printed
    assert (tmp_path / "table.md").read_text(encoding="utf-8") == printed
    with pytest.raises(SystemExit):
        command.main(["speed"])
    assert "no claim is called speed" in capsys.readouterr().err


def test_a_copy_lacks_what_earlier_runs_left(tmp_path):
    book = whole.copied(tmp_path)
    assert (book / "data" / "claims.yaml").exists()
    assert not any((book / name).exists() for name in ("data/cache", "_build", ".venv", ".git"))


def test_a_chapter_is_run_with_ever_more_to_go_on_from(tmp_path, monkeypatch):
    seen = []

    def timed(command, folder):
        seen.append(command)
        return float(len(seen)), True

    monkeypatch.setattr(whole, "timed", timed)
    rows = whole.from_cold(tmp_path)
    assert [found["ratio"] for found in rows] == [1 / 2, 1 / 3]
    assert "rows.jsonl" not in seen[0] and seen[1] == seen[2] and "rows.jsonl" in seen[1]
    assert all(found["agree"] for found in [*rows, *whole.pages(tmp_path)])


def test_two_runs_measured_the_same_whatever_time_they_took():
    one = pd.DataFrame({"value": [0.1, 0.2], "seconds": [1.0, 2.0]})
    assert whole.same_rows(one, one.assign(seconds=3.0))
    assert not whole.same_rows(one, one.assign(value=[0.1, 0.2 + 1e-16 * 2]))
    assert not whole.same_rows(one, one[:1])


@pytest.mark.parametrize(
    ("arguments", "written"),
    [([], "results.md"), (["--whole"], "whole.md"), (["pgd"], None), (["--quick"], None)],
)
def test_a_table_of_all_is_written_each_to_its_file(tmp_path, monkeypatch, arguments, written):
    monkeypatch.setattr(command, "measured", lambda names, quick: [row(names[0], "peer", 1, 2)])
    monkeypatch.setattr(whole, "rows", lambda: [row("`make test`", "limit", 300, 360)])
    for name in ("RESULTS", "WHOLE"):
        monkeypatch.setattr(command, name, tmp_path / getattr(command, name).name)
    command.main(arguments)
    assert [path.name for path in tmp_path.iterdir()] == [written] * bool(written)
    for path in tmp_path.iterdir():
        assert ("make test" in path.read_text(encoding="utf-8")) == (written == "whole.md")


def test_whole_commands_are_timed_alone(capsys):
    for other in ("pgd", "--quick"):
        with pytest.raises(SystemExit):
            command.main(["--whole", other])
        assert "--whole times whole commands, and no claims" in capsys.readouterr().err


def test_make_bench_hands_its_arguments_on_as_they_are():
    makefile = (whole.ROOT / "Makefile").read_text(encoding="utf-8")
    assert "-m benchmarks $(ARGS)\n" in makefile
    assert whole.LIMITS == {"test": 360, "book": 600}
