"""The contrast of each claim, on rows made by hand whose truth is known."""

import csv
import math
import warnings
from statistics import mean

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from paired_rows import OTHER, ROBUST, SEEDS, doublings, made
from statsmodels.tools.sm_exceptions import ConvergenceWarning

from lib.constraint import MIXED_TEXTURES, NATURAL, UNTRAINED, Constraint
from lib.runtime.files import DATA
from lib.studies import breakdowns, contrasts, controls, measured
from lib.studies.claims import rules
from lib.studies.measured import TITLES

# Pairs.


def test_pairs_by_hand():
    rows = pd.DataFrame(
        [
            (NATURAL, "a", 0, 20, 0, 0.5),
            (NATURAL, "a", 0, 20, 1, 0.6),
            (ROBUST, "a", 0, 20, 1, 0.58),
            (ROBUST, "a", 0, 20, 0, 0.75),
            (ROBUST, "a", 0, 40, 0, 0.9),  # no natural one of this size
            (NATURAL, "a", 1, 20, 0, 0.5),  # no robust one of this seed
            (OTHER, "a", 0, 20, 0, 0.1),
        ],
        columns=["constraint", "target", "source_seed", "n_train", "subset_seed", "accuracy"],
    )
    found = contrasts.gap(rows, "accuracy", ROBUST)
    assert list(found) == ["target", "source_seed", "n_train", "subset_seed", "gap"]
    by_subset = found.set_index("subset_seed")["gap"].to_dict()
    assert by_subset == pytest.approx({0: 25, 1: -2}) and len(found) == 2
    other = contrasts.gap(rows, "accuracy", ROBUST, OTHER)
    assert other["gap"].tolist() == pytest.approx([65])


@pytest.mark.parametrize("column", ["resolution", "unfrozen_blocks", "labels"])
def test_pairs_share_all_that_is_drawn(column):
    rows = made(lambda *_: 3)
    apart = pd.concat([rows.assign(**{column: 1}), rows.assign(**{column: 2})])
    apart.loc[apart[column] == 2, "clean_accuracy"] += 0.2
    found = contrasts.gap(apart, "clean_accuracy", ROBUST)
    assert len(found) == len(rows) and found["gap"].to_numpy() == pytest.approx(3)


# One contrast for each claim.


def test_better_is_the_mean_over_the_sizes_that_a_target_has():
    # Over its sizes a gains 1 + 2 + 6 over 3, and b 1 + 2 over 2, and the seeds −1, 0 and 1 more.
    gain = {100: 1, 200: 2, 400: 6}
    found = contrasts.better(made(lambda t, s, n, i: gain[n] + s - 1 + (2 * i - 1)), ROBUST)
    assert found.mean == pytest.approx((3 + 1.5) / 2)
    assert (found.targets, found.seeds, found.same_sign) == (2, 3, 3)
    assert found.spread["target"] == pytest.approx(1.5**2 / 2)
    assert found.spread["seed"] == pytest.approx(1)
    assert found.spread["rest"] == pytest.approx(0, abs=1e-9)


def test_a_size_counts_once_however_many_subsets_it_has():
    rows = made(lambda t, s, n, i: {100: 0, 200: 6}[n], sizes={"a": (100, 200)})
    more = rows[rows["n_train"] == 200].assign(subset_seed=lambda r: r["subset_seed"] + 500)
    assert contrasts.better(pd.concat([rows, more]), ROBUST).mean == pytest.approx(3)


def test_most_with_few_is_the_slope_by_doubling():
    slopes = {"a": -2, "b": -4}
    rows = made(lambda t, s, n, i: 9 + (slopes[t] + s) * doublings(n) + (2 * i - 1))
    found = contrasts.most_with_few(rows, ROBUST)
    assert found.mean == pytest.approx(-3 + 1)
    assert found.spread["seed"] == pytest.approx(1) and found.spread["target"] == pytest.approx(2)
    assert found.same_sign == 3


def test_faster_is_the_area_and_the_head_start_what_is_left_of_it():
    area = made(lambda t, s, *_: 5 + s, value="area")
    last = made(lambda t, s, *_: 2 + s, value="clean_accuracy")
    rows = area.assign(clean_accuracy=last["clean_accuracy"])
    assert contrasts.faster(rows, ROBUST).mean == pytest.approx(6)
    early = controls.head_start(rows, ROBUST)
    assert early.mean == pytest.approx(3)
    assert early.se == pytest.approx(0, abs=1e-9)


def test_the_claim_of_speed_is_about_its_own_sizes():
    (fixed,) = rules()["claims"]["faster"]["sizes"]
    both = dict.fromkeys(("a", "b"), (fixed, 4 * fixed))
    rows = made(lambda t, s, n, i: 5 + s if n == fixed else -20, value="area", sizes=both)
    rows["clean_accuracy"] = rows["area"]
    assert contrasts.faster(rows, ROBUST).mean == pytest.approx(6)
    assert controls.head_start(rows, ROBUST).mean == pytest.approx(0)
    none = rows[rows["n_train"] != fixed]  # as of another protocol
    assert contrasts.faster(none, ROBUST).mean == pytest.approx(-20)
    some = rows[(rows["target"] == "a") | (rows["n_train"] != fixed)]  # b would be lost
    assert contrasts.faster(some, ROBUST).mean == pytest.approx(((6 - 20) / 2 - 20) / 2)


def test_any_depth_is_the_slope_by_block():
    def at(blocks):
        def gain(t, s, n, i):
            return 8 - 0.5 * blocks + (s - 1) * blocks + doublings(n)

        return made(gain, subsets=1, unfrozen_blocks=blocks)

    rows = pd.concat([at(blocks) for blocks in (0, 1, 2, 5)])
    found = contrasts.any_depth(rows, ROBUST)
    assert found.mean == pytest.approx(-0.5)
    assert found.spread["seed"] == pytest.approx(1)
    whole = controls.everything(rows, ROBUST, NATURAL)
    assert whole.mean == pytest.approx(contrasts.better(at(5), ROBUST).mean)


def damaged():
    """Tables with a row twice, one without a number, a seed without a size, by their errors."""
    rows = made(lambda t, s, n, i: 3 + s)
    one = (rows["target"] == "a") & (rows["source_seed"] == 1)
    small = one & (rows["n_train"] == rows["n_train"].min())
    nothing = rows.assign(clean_accuracy=rows["clean_accuracy"].mask(small))
    return {
        "there are two rows for constraint": pd.concat([rows, rows[one].head(1)]),
        "is not a number": nothing,
        "of 3 values of source_seed; measure it": rows[~small],
    }


@pytest.mark.parametrize("said", damaged())
@pytest.mark.parametrize("contrast", [contrasts.better, contrasts.most_with_few])
def test_a_table_with_holes_or_twins_is_refused(contrast, said):
    with pytest.raises(ValueError, match=said):
        contrast(damaged()[said], ROBUST)


def test_a_slope_needs_two_places_on_every_target():
    rows = made(lambda *_: 1, sizes={"a": (100, 200), "b": (100,)})
    with pytest.raises(ValueError, match="b has one place along n_train; a slope needs two"):
        contrasts.most_with_few(rows, ROBUST)


def test_of_a_deeper_network_the_whole_counts_as_five_blocks():
    parts = [made(lambda *_, k=k: 6 - k / 3, unfrozen_blocks=k) for k in (0, 1, 3, 9)]
    assert contrasts.any_depth(pd.concat(parts), ROBUST).mean == pytest.approx(-3 / 5)


def test_a_study_without_the_rung_has_no_effects(tmp_path):
    rows = made(lambda *_: 1)
    rows["constraint"] = [
        Constraint("l2", 0.5) if one == ROBUST else one for one in rows["constraint"]
    ]
    write(tmp_path, "heads", rows)
    assert contrasts.effects("microcosm", tmp_path) == {}
    assert controls.effects("microcosm", tmp_path) == {}


def sources(*accuracies, shift=0):
    """Make rows of sources of one seed: (constraint, own accuracy, accuracy on the target)."""
    return [
        {"constraint": c, "source_accuracy": own, "clean_accuracy": there + shift}
        for c, own, there in accuracies
    ]


def at_one_accuracy(seed, shift=0, target="a", size=100):
    """Of ℓ∞ the source is 40 % right, half way from natural, 50 %, to the weak ℓ2 source, 30 %."""
    found = sources(
        (Constraint("l2", 0.5), 0.1, 0.9), (NATURAL, 0.5, 0.60), (ROBUST, 0.3, 0.70),
        (OTHER, 0.4, 0.62), (UNTRAINED, math.nan, 0.2),
        shift=shift,
    )  # fmt: skip
    place = {"target": target, "source_seed": seed, "n_train": size, "subset_seed": seed}
    return pd.DataFrame(found).assign(**place)


def test_the_norms_are_compared_at_one_accuracy_of_the_sources():
    # Expected of ℓ2 there are 65 %, whatever shifts a seed, and the luck of a seed pairs away.
    parts = [at_one_accuracy(0), at_one_accuracy(1, 0.1), at_one_accuracy(1, 0.2, size=200)]
    rows = pd.concat([*parts, at_one_accuracy(0, size=200)]).sample(frac=1, random_state=0)
    found = contrasts.which_constraint(rows, ROBUST)
    assert found.mean == pytest.approx(3) and (found.targets, found.seeds) == (1, 2)


@pytest.mark.parametrize(("own", "expected"), [(0.05, 0.9), (0.2, 0.8), (0.9, 0.6)])
def test_beyond_the_weakest_and_the_strongest_l2_source_it_stays_as_there(own, expected):
    rows = pd.concat([at_one_accuracy(0), at_one_accuracy(1)])
    rows.loc[rows["constraint"] == OTHER, "source_accuracy"] = own
    found = contrasts.which_constraint(rows, ROBUST)
    assert found.mean == pytest.approx(100 * (expected - 0.62))
    off = 0 if own == 0.2 else 2
    assert contrasts.off_the_line(rows, ROBUST) == (off, 2)


def test_sources_of_one_accuracy_are_one_place_whatever_their_order():
    rows = pd.concat([at_one_accuracy(0), at_one_accuracy(1)])
    rows["source_accuracy"] = 0.5
    l2 = rows["constraint"].map(lambda c: c.name in ("natural", "l2"))
    expected = 100 * (rows[l2]["clean_accuracy"].mean() - 0.62)
    for some in (rows, rows[::-1]):
        assert contrasts.which_constraint(some, ROBUST).mean == pytest.approx(expected)


def test_shape_needs_no_target():
    rows = pd.DataFrame(
        {"constraint": name, "source_seed": s, "shape_bias_of_all": share + 0.1 * s}
        for name, share in ((NATURAL, 0.2), (ROBUST, 0.5), (MIXED_TEXTURES, 0.6))
        for s in SEEDS
    )
    found = contrasts.shape(rows, ROBUST)
    assert found.mean == pytest.approx(30)
    assert (found.targets, found.seeds) == (1, 3) and np.isnan(found.predicted_se)
    assert contrasts.shape(rows, ROBUST, MIXED_TEXTURES).mean == pytest.approx(-10)


def test_influence_is_of_heads_that_learned_true_labels():
    how = {"value": "match", "sizes": {"a": (100,)}}
    true = made(lambda t, s, n, i: 7 + s, **how, labels="true")
    drawn = made(lambda t, s, n, i: -40, **how, labels="random")
    assert contrasts.influence(pd.concat([true, drawn]), ROBUST).mean == pytest.approx(8)


def test_every_contrast_is_of_the_two_sources_asked_for():
    rows = made(lambda *_: 4)
    third = rows[rows["constraint"] == NATURAL].assign(constraint=OTHER)
    third["clean_accuracy"] += 0.01
    rows = pd.concat([rows, third])
    assert contrasts.better(rows, ROBUST).mean == pytest.approx(4)
    assert contrasts.better(rows, ROBUST, OTHER).mean == pytest.approx(3)
    assert contrasts.better(rows, OTHER).mean == pytest.approx(1)


def test_a_seed_that_a_target_lacks_is_named():
    rows = made(lambda *_: 1)
    lacking = rows[(rows["target"] != "b") | (rows["source_seed"] != 2)]
    with pytest.raises(ValueError, match="no number for target b and source_seed 2"):
        contrasts.better(lacking, ROBUST)


# What the paper printed, from its table by another way.


@pytest.fixture(scope="module")
def table():
    """The paper's accuracies in percent: {(target, N, constraint, ε in 255ths): accuracy}."""
    with (DATA / "paper.csv").open() as file:
        return {
            (r["target"], int(r["n_train"]), r["constraint"], round(255 * float(r["eps"]))): float(
                r["accuracy_percent"]
            )
            for r in csv.DictReader(file)
        }


def by_target_of_paper(table, one, other):
    """List (log2 N, points) for each target up to 3,200 images."""
    found = {}
    for (target, n, *source), accuracy in table.items():
        if tuple(source) == one and n <= 3200:
            line = found.setdefault(target, [])
            line.append((math.log2(n), accuracy - table[(target, n, *other)]))
    assert {len(line) for line in found.values()} == {6} and len(found) == 6
    return found


def slope_of(line):
    middle, height = (mean(values) for values in zip(*line, strict=True))
    return sum((x - middle) * (y - height) for x, y in line) / sum(
        (x - middle) ** 2 for x, _ in line
    )


def student(values):
    """Student's 95 % interval of six numbers."""
    centre = mean(values)
    square = sum((v - centre) ** 2 for v in values) / 5
    half = 2.570582 * (square / 6) ** 0.5
    return centre, centre - half, centre + half


def test_what_the_paper_printed(table):
    printed = contrasts.printed()
    assert set(printed) == {"better", "most_with_few", "which_constraint", "influence"}
    strong, natural, linf = ("l2", 765), ("natural", 0), ("linf", 4)
    over_natural = by_target_of_paper(table, strong, natural)
    means = [mean(y for _, y in line) for line in over_natural.values()]
    assert printed["better"] == pytest.approx(student(means), abs=1e-4)
    slopes = [slope_of(line) for line in over_natural.values()]
    assert printed["most_with_few"] == pytest.approx(student(slopes), abs=1e-4)
    over_linf = by_target_of_paper(table, strong, linf)
    means = [mean(y for _, y in line) for line in over_linf.values()]
    assert printed["which_constraint"] == pytest.approx(student(means), abs=1e-4)


def test_the_paper_printed_match_rates_of_one_network_each():
    with (DATA / "paper_influence.csv").open() as file:
        match = next(row for row in csv.DictReader(file) if row["measure"] == "match")
    centre, low, high = contrasts.printed()["influence"]
    assert centre == pytest.approx(float(match["robust"]) - float(match["natural"]))
    assert np.isnan(low) and np.isnan(high)


# Folders.


def write(folder, name, rows, world="microcosm"):
    folder.mkdir(exist_ok=True)
    text = rows.assign(constraint=[constraint.text for constraint in rows["constraint"]])
    text.to_csv(folder / f"{world}_{name}.csv", index=False)


def with_control(rows, control, less):
    """Add rows of a control, which has so many points less than the natural source."""
    third = rows[rows["constraint"] == NATURAL].assign(constraint=control)
    third["clean_accuracy"] -= less / 100
    return pd.concat([rows, third])


def test_of_a_folder_only_what_is_there_is_given(tmp_path):
    assert contrasts.effects("microcosm", tmp_path) == {}
    assert controls.effects("microcosm", tmp_path) == {}
    heads = made(lambda t, s, n, i: 5 - doublings(n) + s)
    write(tmp_path, "heads", heads)
    effects = contrasts.effects("microcosm", tmp_path)
    assert list(effects) == ["better", "most_with_few"]
    assert effects["better"].mean == pytest.approx(contrasts.better(heads, ROBUST).mean)
    assert effects["most_with_few"].mean == pytest.approx(-1)
    assert controls.effects("microcosm", tmp_path) == {}  # without a control's rows
    noisy = with_control(heads, Constraint("noise", 0.08), 4)
    write(tmp_path, "heads", pd.concat([with_control(heads, UNTRAINED, 10), noisy[len(heads) :]]))
    (found,) = controls.effects("microcosm", tmp_path).values()
    means = {name: control.mean - effects["better"].mean for name, control in found.items()}
    assert means == pytest.approx({"noise 0.08": 4, "untrained": 10})
    assert contrasts.effects("photographs", tmp_path) == {}


def test_each_claim_is_judged_by_a_table_of_its_own(tmp_path):
    area = made(lambda *_: 6, value="area")
    curves = area.assign(clean_accuracy=made(lambda *_: 2)["clean_accuracy"])
    write(tmp_path, "curves", curves)
    depths = (made(lambda *_, d=d: 5 - d, subsets=1, unfrozen_blocks=d) for d in (0, 5))
    write(tmp_path, "depths", pd.concat(depths))
    bias = made(lambda *_: 11, value="shape_bias_of_all", sizes={"a": (1,)}, subsets=1)
    mixed = bias[bias["constraint"] == NATURAL].assign(constraint=MIXED_TEXTURES)
    bias = pd.concat([bias, mixed])
    write(tmp_path, "shape", bias.drop(columns=["target", "n_train", "subset_seed"]))
    true = made(lambda *_: 3, value="match", labels="true")
    random = made(lambda *_: 50, value="match", labels="random")
    write(tmp_path, "hidden", pd.concat([true, random]))
    effects = contrasts.effects("microcosm", tmp_path)
    means = {name: effect.mean for name, effect in effects.items()}
    expected = {"faster": 6, "any_depth": -1, "shape": 11, "influence": 3}
    assert means == pytest.approx(expected)
    verdicts = contrasts.judged("microcosm", tmp_path).set_index("claim")
    assert verdicts["mean"].to_dict() == pytest.approx(expected)
    held = controls.effects("microcosm", tmp_path)
    means = {(name, called): e.mean for name in held for called, e in held[name].items()}
    expected = {
        ("faster", "without the lead at the end"): 4, ("shape", str(MIXED_TEXTURES)): 11,
        ("influence", "its heads on random labels"): 3 - 50,
    }  # fmt: skip
    assert means == pytest.approx(expected)


def test_a_table_that_is_not_there_is_named(tmp_path):
    said = r"there is no .*photographs_heads.csv; data/README.md says how it is measured"
    with pytest.raises(ValueError, match=said):
        measured.evidence("photographs", "heads", tmp_path)


def test_targets_have_their_titles(tmp_path):
    rows = made(lambda *_: 1, sizes={"gtsrb": (100,), "digits": (100,)})
    write(tmp_path, "heads", rows)
    found = breakdowns.by_target(contrasts.evidence("microcosm", "heads", tmp_path), ROBUST)
    assert set(found["target"]) == {TITLES["gtsrb"], "digits"}


def test_the_rung_of_the_photographs_is_chosen_and_that_of_the_microcosm_fixed(monkeypatch):
    monkeypatch.setattr(contrasts, "rung", lambda: OTHER)
    assert contrasts.robust("photographs") == OTHER
    assert contrasts.robust("microcosm") == Constraint("l2", 0.25)


def test_the_sources_of_the_book_are_headed_as_sources_are_called():
    known = measured.sources()
    assert list(known)[:2] == ["seeds", "clean"] and "ℓ2 0.25" in known
    assert str(NATURAL) in known.index and known["seeds"].min() >= rules()["sources"]["seeds"]


def test_models_are_counted_in_the_tables_that_are_there(tmp_path):
    rows = made(lambda *_: 1)
    for name in ("heads", "depths", "shape"):  # of the last no row is a model of a target
        write(tmp_path, name, rows)
    assert measured.fine_tuned("microcosm", tmp_path) == 2 * len(rows)
    assert measured.fine_tuned("photographs", tmp_path) == 0


# The rows of the book by a peer.


def test_the_contrasts_of_the_heads_are_those_of_a_mixed_model_of_all_rows_at_once():
    """Its random effects are intercepts and slopes of targets, of seeds, and of their cells.

    What the two make of the rows differs where targets do not have all sizes: a short line tells
    less of a slope, so the mixed model gives it less weight.
    """
    rows = measured.evidence("photographs", "heads")
    robust = contrasts.robust("photographs")
    pairs = contrasts.gap(rows, "clean_accuracy", robust)
    x = np.log2(pairs["n_train"])
    pairs["x"] = x - x.groupby(pairs["target"]).transform("mean")  # `better` is the height there
    pairs["cell"] = pairs["target"] + pairs["source_seed"].astype(str)
    by = ("target", "source_seed", "cell")
    parts = {f"{name}{along}": f"0 + C({name}){along}" for name in by for along in ("", ":x")}
    model = smf.mixedlm("gap ~ x", pairs, groups=np.ones(len(pairs)), vc_formula=parts)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        fit = model.fit(reml=True, method="powell")
    height, slope = contrasts.better(rows, robust), contrasts.most_with_few(rows, robust)
    for name, found in (("Intercept", height), ("x", slope)):
        assert found.mean == pytest.approx(fit.params[name], abs=found.se / 10), name
        assert found.se == pytest.approx(fit.bse[name], rel=0.05), name
    alone = smf.ols("gap ~ x", pairs).fit()
    assert height.se > 3 * alone.bse["Intercept"]  # as if each pair were a draw of its own
