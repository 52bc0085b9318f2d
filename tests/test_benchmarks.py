"""The benchmarks run, on tiny sizes, and rivals find the same. Times are not tested."""

import pytest

from benchmarks import __main__ as command
from benchmarks import whole
from benchmarks.measure import COLUMNS, measured, row, table

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


def test_whole_commands_run_in_a_copy_without_what_earlier_ones_left(tmp_path, monkeypatch):
    seen = []

    def timed(command, folder):
        seen.append((command, (folder / "data" / "claims.yaml").exists()))
        assert not any((folder / name).exists() for name in ("data/cache", "_build", ".venv"))
        return float(len(seen)), True

    monkeypatch.setattr(whole, "timed", timed)
    rows = whole.in_a_copy(tmp_path / "book")
    assert [found["ratio"] for found in rows] == [1 / 2, 1 / 3, 4 / 600]
    assert all(there for _, there in seen) and "rows.jsonl" in seen[2][0]
    assert all(found["agree"] for found in rows)


@pytest.mark.parametrize(
    ("arguments", "written"),
    [([], True), (["--whole"], True), (["pgd"], False), (["--quick"], False)],
)
def test_the_table_of_all_claims_is_written_whatever_else_is_timed(
    tmp_path, monkeypatch, arguments, written
):
    monkeypatch.setattr(command, "measured", lambda names, quick: [row(names[0], "peer", 1, 2)])
    monkeypatch.setattr(whole, "rows", lambda: [row("`make test`", "limit", 300, 360)])
    monkeypatch.setattr(command, "RESULTS", tmp_path / "results.md")
    command.main(arguments)
    assert command.RESULTS.exists() == written
    if "--whole" in arguments:
        assert "make test" in command.RESULTS.read_text(encoding="utf-8")


def test_make_bench_hands_its_arguments_on_as_they_are():
    makefile = (whole.ROOT / "Makefile").read_text(encoding="utf-8")
    assert "-m benchmarks $(ARGS)\n" in makefile
    assert whole.LIMITS == {"test": 360, "book": 600}
