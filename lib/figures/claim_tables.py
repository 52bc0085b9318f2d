"""The table of the claims: what the paper says, what was measured, and the verdicts."""

from collections.abc import Mapping

import pandas as pd

from lib.figures.estimates import Estimate
from lib.random_effects import Effect

NOT_RUN = "not run"


def overview(
    claims: Mapping[str, str],
    paper: Mapping[str, tuple[float, float, float]],
    judged: Mapping[str, pd.DataFrame],
    controls: Mapping[str, Mapping[str, Mapping[str, Effect]]],
) -> list[tuple[str, ...]]:
    """Return the rows of the table, headings first, for `lib.figures.sentences.say_table`.

    claims: what to call each, by name. paper: (mean, low, high) by claim. judged: by world, as of
    `lib.studies.claims.judge`. controls: by world and claim, the effects by what they are held
    against. What was not run says so.
    """
    rows = [("claim", "the paper", *judged)]
    for name, called in claims.items():
        own = f"{Estimate(*paper[name]):short}" if name in paper else "no number"
        cells = [_cell(judged[w], controls[w].get(name, {}), name) for w in judged]
        rows.append((called, own, *cells))
    return rows


def _cell(judged, controls, name):
    """Say an effect, its seeds, its verdict and its controls."""
    found = judged[judged["claim"] == name]
    if found.empty:
        return NOT_RUN
    row = found.iloc[0]
    seeds = f"{row.same_sign} of {row.seeds} seeds {'below' if row['mean'] < 0 else 'above'} 0"
    text = f"**{row.verdict}**, {Estimate(row['mean'], row.low, row.high):short}, {seeds}"
    against = [f"{called}: {estimate(effect):short}" for called, effect in controls.items()]
    return "; ".join([text, *(against or ["no control"])])


def in_short(
    claims: Mapping[str, str],
    paper: Mapping[str, tuple[float, float, float]],
    judged: Mapping[str, pd.DataFrame],
) -> pd.DataFrame:
    """Return the verdicts, each with its contrast alone: a row a claim, a column for each world.

    claims, paper, judged: as of `overview`, and so are the columns.
    """
    table = {"the paper": {name: f"{mean:+.1f}" for name, (mean, *_) in paper.items()}}
    for world, rows in judged.items():
        cells = zip(rows["claim"], rows["verdict"], rows["mean"], strict=True)
        table[world] = {name: f"{word} ({mean:+.1f})" for name, word, mean in cells}
    found = pd.DataFrame(table, index=list(claims), dtype=object)
    found["the paper"] = found["the paper"].fillna("no number")
    return found.fillna(NOT_RUN).rename(index=dict(claims))


def by_target(judged: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each target: the difference with its interval, and the verdict.

    judged: as of `lib.studies.breakdowns.judged_by_target`.
    """
    texts = [
        f"{Estimate.of(values, 'points'):short}"
        for values in judged[["mean", "low", "high"]].to_numpy()
    ]
    rows = judged.set_index("target")
    return pd.DataFrame({"points": texts, "verdict": rows["verdict"]}, index=rows.index)


def estimate(effect: Effect, level: float = 0.95) -> Estimate:
    """Return an effect as a number that writes itself, with its own interval."""
    return Estimate(effect.mean, *effect.interval(level))


def expected(along: Mapping[int, Effect], name: str, level: float) -> pd.DataFrame:
    """Return a row for each place: the mean difference, and what is expected of a new target.

    along: as of `lib.studies.breakdowns.along`. name: what to call its column. level: of the
    intervals, but for those of a place by itself, which hold with 95 %.
    """
    rows = [
        {
            name: place,
            "mean over targets": f"{estimate(e, level):short}",
            "a new target": f"{Estimate(e.mean, *e.prediction(level)):short}",
            "by itself": f"{Estimate(e.mean, *e.prediction()):short}",
            "targets": e.targets,
        }
        for place, e in along.items()
    ]
    return pd.DataFrame(rows).set_index(name)


def spreads(effects: Mapping[str, Effect]) -> pd.DataFrame:
    """Return standard deviations of contrasts, in points: columns target, seed and rest."""
    rows = {name: {k: v**0.5 for k, v in e.spread.items()} for name, e in effects.items()}
    return pd.DataFrame.from_dict(rows, orient="index")
