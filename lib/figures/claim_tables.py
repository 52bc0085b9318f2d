"""The table of the claims: what the paper says, what was measured, and the verdicts."""

from collections.abc import Mapping, Sequence

import pandas as pd

from lib.figures.estimates import RISES, Estimate, verdict
from lib.figures.sentences import listing, sides
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
    above = f"{row.positive} of {row.seeds} seeds above 0"
    text = f"**{row.verdict}**, {Estimate(row['mean'], row.low, row.high):short}, {above}"
    against = (f"{called}: {estimate(effect):short}" for called, effect in controls.items())
    return "; ".join([text, *against])


def in_short(claims: Mapping[str, str], judged: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the verdicts alone: a row for each claim, a column for each world.

    claims, judged: as of `overview`.
    """
    found = {w: rows.set_index("claim")["verdict"] for w, rows in judged.items()}
    table = pd.DataFrame(found).reindex(list(claims)).fillna(NOT_RUN)
    return table.rename(index=dict(claims))


def outcomes(called: Mapping[str, str], judged: pd.DataFrame) -> list[str]:
    """Say which claims were found as the paper leads one to expect, and which were not.

    called: a claim in a word or two, by name. judged: of one world, as of `overview`.

    Returns sentences: what was not found first, and last what was not run, where there is any.
    """
    named = judged["claim"].map(called) + " (" + judged["verdict"] + ")"
    as_expected = judged["verdict"] == judged["expected"]
    others = [called[name] for name in called if name not in set(judged["claim"])]
    return [
        f"What the paper leads one to expect is *not* borne out for {_named(named[~as_expected])}.",
        f"It is borne out for {_named(named[as_expected])}.",
        *([f"Nothing was run for {_named(others)}."] if others else []),
    ]


def _named(claims):
    """Count claims, and name them."""
    count = f"{len(claims) or 'none'} of the claims"
    return f"{count}: {listing(claims)}" if len(claims) else count


def predicted(found: pd.DataFrame) -> list[str]:
    """Say of each version of the targets what was expected, and on how many it came so.

    found: as of `lib.studies.predictions.of_cues`.
    """
    return [
        f"For the version “{row.version}” it was expected that the difference {row.expected}; this "
        f"is borne out on {row.borne_out} of {row.targets} targets, and the contrary on "
        f"{row.contrary}."
        for row in found.itertuples()
    ]


def as_resolution_falls(rises: pd.DataFrame, turned: Sequence[object]) -> str:
    """Say on which targets the difference rises as resolution falls, beside what was expected.

    rises: as of `lib.studies.breakdowns.resolution_by_target`. turned: the targets on which the
    mean comes from below zero to above.
    """
    rose = (rises["low"] > 0).sum()
    return (
        "As the resolution falls, the difference to natural sources changes as follows: "
        f"{sides(rises, 'target', RISES, link='on')}. A rise was expected on all targets, and is "
        f"seen on {rose} of {len(rises)}. A change of its mean from below zero to above was "
        f"expected on CIFAR-10; it is seen on {listing(turned)}."
    )


def estimate(effect: Effect, level: float = 0.95) -> Estimate:
    """Return an effect as a number that writes itself, with its own interval."""
    return Estimate(effect.mean, *effect.interval(level))


def changed(effect: Effect) -> str:
    """Say an effect that is a change, with its interval: whether it rises or falls."""
    change = estimate(effect)
    return f"{change}, {verdict(change.low, change.high, RISES)}"


def expected(along: Mapping[int, Effect], name: str, level: float) -> pd.DataFrame:
    """Return a row for each place: the mean difference, and what is expected of a new target.

    along: as of `lib.studies.breakdowns.along`. name: what to call its column. level: of the
    intervals.
    """
    rows = [
        {
            name: place,
            "mean over targets": f"{estimate(e, level):short}",
            "a new target": f"{Estimate(e.mean, *e.prediction(level)):short}",
            "targets": e.targets,
        }
        for place, e in along.items()
    ]
    return pd.DataFrame(rows).set_index(name)


def spreads(effects: Mapping[str, Effect]) -> pd.DataFrame:
    """Return standard deviations of contrasts, in points: columns target, seed and rest."""
    rows = {name: {k: v**0.5 for k, v in e.spread.items()} for name, e in effects.items()}
    return pd.DataFrame.from_dict(rows, orient="index")
