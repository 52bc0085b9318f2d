"""The tables that the claims are judged by: measured on a tiny study, and those of the book."""

import os
from dataclasses import replace
from functools import cache, partial

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from lib import microcosm
from lib.constraint import MIXED_TEXTURES, NATURAL, UNTRAINED, Constraint
from lib.images import Images
from lib.networks import choose_device
from lib.runtime import files, provenance
from lib.runtime import rows as kept
from lib.studies import (
    altered,
    contrasts,
    controls,
    evidence,
    inverted,
    linear_probe,
    measured,
    measurements,
    pretrained,
    protocols,
    transferred,
)
from lib.studies import study as studies
from lib.studies.best_rate import transfers_at_best_rate
from lib.studies.claims import rules
from lib.studies.ladder import Ladder
from lib.studies.linear_probe import probes
from lib.studies.protocols import Protocol
from lib.studies.study import Study
from lib.zoo import models, shipped

PROTOCOL = Protocol(
    "microcosm", {"source_data": "microcosm"}, "all", ("heads",),
    sizes=(10, 20, 40), curve_sizes=(20,), depths=(0, -1), depth_sizes=(10, 40),
)  # fmt: skip
COMMIT = "1234567"
ROBUST, OTHER = Constraint("l2", 0.25), Constraint("linf", 2 / 255)
code_of = cache(kept._code)  # a fifth of a second for each call otherwise


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """Everything is written to folders of this test, in this process, and is small and quick."""
    monkeypatch.setattr("lib.runtime.parallel.cpu_count", lambda: 1)
    monkeypatch.setattr(kept, "_code", code_of)
    monkeypatch.setattr(files, "DATA", tmp_path / "data")
    monkeypatch.setattr(evidence, "RESULTS", tmp_path / "data" / "results")
    monkeypatch.setattr(evidence, "KEPT", tmp_path / "data" / "cache" / "evidence")
    monkeypatch.setattr(pretrained, "CACHE", tmp_path / "sources")
    evidence.RESULTS.mkdir(parents=True)
    monkeypatch.setattr(altered, "PIXELS", (4, 8))
    monkeypatch.setattr(altered, "SOME", (10, 40))
    monkeypatch.setattr(measurements, "HIDDEN_N", 12)
    monkeypatch.setattr(altered, "CUED_N", (10, 40))
    monkeypatch.setattr(measurements, "TESTED", 12)
    monkeypatch.setattr(measurements, "MATCHED_N", (10, 12))
    monkeypatch.setattr(measurements, "RETRAINED_N", 10)
    monkeypatch.setattr(measurements, "LOOKED_AT", 11)
    monkeypatch.setattr(measurements, "PASSES", (2, 0))
    monkeypatch.setitem(probes.__kwdefaults__, "decays", (1.0, 0.01))
    monkeypatch.setattr(transferred, "DECAYS", (1.0, 0.01))
    monkeypatch.setattr(transferred, "RATES", (0.1,))
    monkeypatch.setattr(measurements, "CONFLICTS", 30)
    monkeypatch.setattr(transferred, "EPOCHS", 2)
    monkeypatch.setattr(inverted, "COUNT", 12)
    monkeypatch.setattr(inverted, "SEARCH", {"steps": 3, "size": 1.0})
    quick = partial(transfers_at_best_rate, rates=(0.1,))
    monkeypatch.setattr(transferred, "transfers_at_best_rate", quick)


def ladder(*constraints):
    keys = [(constraint, seed) for constraint in constraints for seed in (0, 1)]
    made = {k: models.build("small_resnet", 10, seed=i, width=2) for i, k in enumerate(keys)}
    return Ladder({key: model.eval() for key, model in made.items()})


def shapes(n, seed, classes=5):
    """Images of 8 × 8 pixels of the first classes of the microcosm."""
    drawn = microcosm.draw(n, seed, shape=torch.arange(n) % classes, size=8)
    return Images(drawn.x, drawn.y, microcosm.CLASSES[:classes])


@pytest.fixture
def study():
    """Two networks of width 2 and random weights, of two seeds; one target lacks the last size."""
    targets = {
        "digits": (shapes(45, 0), shapes(20, 1)),
        "faces": (shapes(30, 2, 2), shapes(20, 3, 2)),
    }
    learned = microcosm.draw(20, 4, size=8)
    networks = ladder(NATURAL, ROBUST, OTHER, UNTRAINED)
    known = {
        (c, seed): 0.5 + i / 10
        for i, c in enumerate((NATURAL, ROBUST, OTHER))
        for seed in networks.seeds
    }
    return Study(PROTOCOL, networks, targets, learned, known)


def photographs(monkeypatch):
    """The same as photographs, with a target of which classes can be hidden."""
    monkeypatch.setattr(contrasts, "rung", lambda: ROBUST)
    names = tuple(name for group in measurements.GROUPS["cifar10"].values() for name in group)
    y = torch.arange(30) % 10
    pair = [Images(microcosm.draw(30, s, shape=y, size=8).x, y, names) for s in (0, 1)]
    learned = microcosm.draw(20, 4, size=8)
    protocol = replace(PROTOCOL, name="photographs", sources={"source_data": "photographs"})
    return Study(protocol, ladder(NATURAL, ROBUST, UNTRAINED), {"cifar10": pair}, learned, {})


# What is whole.

MEASURED = {
    "stylised": ("weight_decay", "train_accuracy", "clean_accuracy"),
    "cues": ("accuracy",),
    "influence": ("match",),
    "heads": ("weight_decay", "train_accuracy", "clean_accuracy"),
    "heads_wider": ("weight_decay", "train_accuracy", "clean_accuracy"),
    "resolutions": ("weight_decay", "train_accuracy", "clean_accuracy"),
    "resolutions_of_controls": ("weight_decay", "train_accuracy", "clean_accuracy"),
    "curves": ("lr", "area", "train_accuracy", "clean_accuracy"),
    "curves_wider": ("lr", "area", "train_accuracy", "clean_accuracy"),
    "depths": ("lr", "train_accuracy", "clean_accuracy"),
    "shape": ("conflicts", "shape_bias_of_all", "decided_of_all"),
    "doses": ("source_accuracy", "decided_of_all", "weight_decay", "clean_accuracy"),
    "hidden": ("match", "three_of_five", "chance", "clean_accuracy"),
    "inversions": ("left", "covered", "structure", "told", "told_in_noise", "natural judges"),
}
"""The columns that must have numbers,"""
NO_SHARE = {"weight_decay", "lr", "conflicts", "left", "covered", "structure"}
"""and which of them are no shares."""
RUN = ("constraint", "source_seed", "subset_seed")
CELLS = (
    "target", "resolution", "version", "n_train", "unfrozen_blocks", "labels", "start", "part",
    "n", "epochs", "damping", "cutoff", "amplitude",
)  # fmt: skip


def faults(rows, name, robust):
    """List what is missing of a table, there twice, or no number."""
    found = []
    for column in MEASURED[name]:
        values = rows[column]
        if values.isna().any():
            found.append(f"{column} is not a number in {values.isna().sum()} rows")
        if column not in NO_SHARE and not values.dropna().between(0, 1).all():
            found.append(f"{column} leaves 0 to 1")
    run, cell = ([column for column in part if column in rows] for part in (RUN, CELLS))
    if rows.duplicated([*run, *cell]).any():
        found.append("rows are there twice")
    every = set(rows[run].itertuples(index=False, name=None))
    groups = rows.groupby(cell) if cell else [("all", rows)]
    for key, part in groups:
        if lacking := every - set(part[run].itertuples(index=False, name=None)):
            found.append(f"{key} lacks {len(lacking)} of {len(every)} runs")
    # The subsets of a source seed are the same for every constraint.
    seeds = rows.groupby("constraint")["source_seed"].agg(set)
    if "subset_seed" in rows:
        subsets = rows.groupby(["source_seed", "constraint"])["subset_seed"].agg(frozenset)
        if (subsets.groupby("source_seed").nunique() > 1).any():
            found.append("constraints have different subsets")
    if name == "resolutions_of_controls":
        return found  # whose natural and robust sources stand in resolutions
    if not {NATURAL, robust} <= set(seeds.index) or seeds[NATURAL] != seeds[robust]:
        found.append("natural and robust have not the same seeds")
    return found


@pytest.fixture(scope="module")
def whole():
    rows = [
        {"constraint": c, "source_seed": s, "subset_seed": 1000 * s + i, "target": t, "n_train": n}
        for c, seeds in ((NATURAL, (0, 1)), (ROBUST, (0, 1)), (OTHER, (0,)))
        for s in seeds
        for i in (0, 1)
        for t, sizes in (("a", (10, 20)), ("b", (10,)))
        for n in sizes
    ]
    return pd.DataFrame(rows).assign(weight_decay=1.0, train_accuracy=1.0, clean_accuracy=0.5)


def changed(rows, place, column, value):
    rows = rows.copy()
    rows.loc[rows.index[place], column] = value
    return rows


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r.sample(frac=1, random_state=0), []),
        (lambda r: r[(r["constraint"] != OTHER) | (r["n_train"] != 20)], ["('a', 20) lacks 2"]),
        (lambda r: r[r["source_seed"] != 1], []),
        (lambda r: r.drop(r.index[3]), ["lacks 1 of 10 runs"]),
        (lambda r: pd.concat([r, r.iloc[[5]]]), ["rows are there twice"]),
        (lambda r: changed(r, 7, "clean_accuracy", np.nan), ["clean_accuracy is not a number"]),
        (lambda r: changed(r, 7, "train_accuracy", 50.0), ["train_accuracy leaves 0 to 1"]),
        (
            lambda r: r[(r["constraint"] != ROBUST) | (r["source_seed"] != 1)],
            ["natural and robust have not the same seeds"],
        ),
        (
            lambda r: r.assign(subset_seed=r["subset_seed"] + 7 * (r["constraint"] == ROBUST)),
            ["constraints have different subsets"],
        ),
    ],
)
def test_faults_of_a_table_are_found(whole, change, said):
    found = faults(change(whole), "heads", ROBUST)
    assert len(found) == len(said), found
    assert all(words in fault for words, fault in zip(said, found, strict=True))


FIXED = {
    "heads": rules()["sizes"],
    "resolutions": rules()["sizes"],
    "resolutions_of_controls": list(altered.SOME),
    "curves": protocols.read("photographs").curve_sizes,
    "heads_wider": rules()["sizes"][:1],
    "curves_wider": protocols.read("photographs").curve_sizes[:1],
    "depths": rules()["claims"]["any_depth"]["sizes"],
}
WIDER = {"heads_wider": "heads", "curves_wider": "curves"}
"""Tables of wider grids, by the table whose smallest size they measure again."""
BOOK = [(world, name) for world in measured.WORLDS for name in protocols.read(world).measure]


@pytest.mark.parametrize(("world", "name"), BOOK, ids=lambda part: part)
def test_the_tables_of_the_book_are_whole(world, name):
    if not measured.has(world, name):
        pytest.skip(f"{world}_{name}.csv is not measured yet")
    rows = measured.evidence(world, name)
    for _, part in rows.groupby("experiment") if "experiment" in rows else [("all", rows)]:
        whole = part.dropna(axis=1, how="all").reset_index(drop=True)
        assert not faults(whole, name, contrasts.robust(world))
    of_all = ("heads", "resolutions", "resolutions_of_controls", "curves", "depths", *WIDER)
    if name in ("curves", "depths") and (named := protocols.read(world).depth_sources):
        assert set(rows["constraint"]) == set(map(Constraint.parse, named))
    if name in of_all and world == "photographs":
        wanted = {measured.TITLES[target] for target in rules()["targets"]}
        assert set(rows["target"]) == wanted
    if "subset_seed" in rows and name != "influence":
        twice = name in ("heads", "heads_wider", "hidden", "doses")
        several = rules()["subsets"] if twice else 1
        assert set(rows.groupby("source_seed")["subset_seed"].nunique()) == {several}


@pytest.mark.skipif(
    not measured.has("photographs", "resolutions_of_controls"), reason="is not measured yet"
)
def test_controls_are_shown_what_the_others_are_shown():
    names = ("resolutions", "resolutions_of_controls")
    others, beside = (measured.evidence("photographs", name) for name in names)
    draws = ["source_seed", "subset_seed", "resolution"]
    assert keys(beside, *draws) == keys(others, *draws)
    come = {constraint for constraint, _ in shipped.available()}
    assert set(beside["constraint"]) == {one for one in come if studies.is_control(one)}


@pytest.mark.parametrize("name", WIDER)
def test_wider_grids_are_tried_on_the_images_of_the_narrow_ones(name):
    if not measured.has("photographs", name):
        pytest.skip(f"photographs_{name}.csv is not measured yet")
    wide, narrow = (measured.evidence("photographs", one) for one in (name, WIDER[name]))
    pair = {NATURAL, contrasts.robust("photographs")}
    fewest = narrow["n_train"] == narrow["n_train"].min()
    same = narrow[fewest & narrow["constraint"].isin(pair)]
    draws = ["constraint", "source_seed", "target", "n_train", "subset_seed"]
    assert keys(wide, *draws) == keys(same, *draws)
    column = "lr" if "lr" in wide else "weight_decay"
    both = wide.merge(same, on=draws, suffixes=("", "_narrow"))
    kept = both[both[column] == both[f"{column}_narrow"]]
    assert len(kept) > len(both) / 2  # of which the same is chosen: they are the same models
    assert kept["clean_accuracy"].tolist() == pytest.approx(
        kept["clean_accuracy_narrow"].tolist(), abs=0.02
    )
    others = both[both[column] != both[f"{column}_narrow"]]
    assert (others[column] > narrow[column].max()).mean() > 0.8


def test_the_doses_are_those_of_the_protocol():
    rows = measured.evidence("microcosm", "doses")
    assert rows["amplitude"].unique().tolist() == protocols.read("microcosm").amplitudes


def test_the_tables_of_the_book_are_of_the_sizes_that_were_fixed():
    sizes = {("photographs", name): asked for name, asked in FIXED.items()}
    sizes["microcosm", "heads"] = [20, 40, 80, 160, 320, 640]
    sizes["microcosm", "doses"] = [80]
    for (world, name), asked in sizes.items():
        if measured.has(world, name):
            held = measured.evidence(world, name).groupby("target")["n_train"].unique()
            for target, found in held.items():  # those that a target has images for: the first
                assert sorted(found) == asked[: len(found)], (world, name, target)


# What is measured.


def keys(rows, *columns):
    return set(rows[list(columns)].itertuples(index=False, name=None))


def test_heads_are_the_best_of_every_source_at_the_sizes_a_target_has(study):
    rows = transferred.heads(study)
    assert not faults(rows, "heads", ROBUST)
    held = {("digits", n) for n in (10, 20, 40)} | {("faces", n) for n in (10, 20)}
    assert keys(rows, "target", "n_train") == held
    assert set(rows["constraint"]) == {NATURAL, ROBUST, OTHER, UNTRAINED}
    assert keys(rows, "source_seed", "subset_seed") == {(0, 0), (0, 1), (1, 1000), (1, 1001)}
    one = rows.query("target == 'faces' and source_seed == 1 and n_train == 20")
    one = one[one["constraint"] == ROBUST]
    model, target = study.ladder.networks[ROBUST, 1], study.targets["faces"]
    (plain,) = probes(model, target, n=[20], seeds=[1000, 1001])
    shares = ["train_accuracy", "clean_accuracy"]
    assert one[shares].to_numpy() == pytest.approx(plain[shares].to_numpy(), abs=0.06)


def test_resolutions_are_of_targets_made_coarse(study):
    rows = altered.resolutions(study)
    assert not faults(rows, "resolutions", ROBUST)
    assert set(rows["resolution"]) == {4, 8}
    assert set(rows["constraint"]) == {NATURAL, ROBUST}  # no other rung, no random weights
    held = {("digits", n) for n in (10, 20, 40)} | {("faces", n) for n in (10, 20)}
    assert keys(rows, "target", "n_train") == held
    assert keys(rows, "source_seed", "subset_seed") == {(0, 0), (1, 1000)}
    full = rows[rows["resolution"] == 8].reset_index(drop=True)
    heads = transferred.heads(replace(study, ladder=study.main))
    heads = heads[heads["subset_seed"] % 1000 == 0].reset_index(drop=True)
    both = full.merge(heads, on=["constraint", "source_seed", "target", "n_train"])
    assert len(both) == len(full)  # as they are, they are the heads themselves
    assert both["clean_accuracy_x"].tolist() == pytest.approx(both["clean_accuracy_y"], abs=0.06)


def test_controls_without_an_adversary_are_shown_other_resolutions_too(study, monkeypatch):
    noise = Constraint.parse("noise 0.1")
    more = replace(study, ladder=study.ladder | ladder(noise))
    rows = altered.resolutions_of_controls(more)
    assert set(rows["constraint"]) == {noise} and set(rows["resolution"]) == {4, 8}
    assert keys(rows, "target", "n_train") == {("digits", 10), ("digits", 40), ("faces", 10)}
    natural = altered.resolutions(more)  # whose images these share
    draw = ["source_seed", "subset_seed"]
    assert keys(rows, *draw) == keys(natural, *draw)
    for further in ("", "l2 1"):
        sources = {"source_data": "microcosm", "more_sources": further}
        with pytest.raises(ValueError, match=r"asked of sources such as noise 0\.1, and microcosm"):
            other = replace(study, protocol=replace(PROTOCOL, sources=sources))
            measurements.check(other, ["resolutions_of_controls"])
    sources["more_sources"] = "l2 1, noise 0.1"
    other = replace(study, protocol=replace(PROTOCOL, sources=sources))
    measurements.check(other, ["resolutions_of_controls"])
    monkeypatch.setattr(altered, "SOME", (100,))
    with pytest.raises(ValueError, match="digits has 45 training images, and the sizes asked for"):
        measurements.check(other, ["resolutions_of_controls"])


def test_a_target_is_shrunk_and_enlarged_again():
    x = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    x[..., ::2] = 200  # stripes of one pixel
    coarse = altered.shrunk(x, 4)
    assert coarse.shape == x.shape and coarse.dtype == torch.uint8
    assert int(coarse.max()) - int(coarse.min()) < 80  # are gone
    assert torch.equal(altered.shrunk(x, 8), x)


def test_targets_are_shown_with_a_cue_taken_away(study, monkeypatch):
    rows = altered.stylised(photographs(monkeypatch))
    assert not faults(rows, "stylised", ROBUST)
    assert set(rows["target"]) == {"cifar10"} and set(rows["n_train"]) == {10}
    assert list(rows["version"].unique()) == list(altered.CHANGED)
    assert set(rows["constraint"]) == {NATURAL, ROBUST, UNTRAINED}
    with pytest.raises(ValueError, match="stylised is asked of cifar10, clothing, and neither"):
        altered.stylised(study)


def test_curves_have_an_area_and_depths_every_depth(study):
    curves = transferred.curves(study)
    assert not faults(curves, "curves", ROBUST)
    assert keys(curves, "target", "n_train") == {("digits", 20), ("faces", 20)}
    assert set(curves["unfrozen_blocks"]) == {1}
    depths = transferred.depths(study)
    assert not faults(depths, "depths", ROBUST)
    blocks = len(models.build("small_resnet", 10).blocks)
    places = {("digits", n, d) for n in (10, 40) for d in (0, blocks)}
    places |= {("faces", 10, d) for d in (0, blocks)}
    assert keys(depths, "target", "n_train", "unfrozen_blocks") == places
    for rows in (curves, depths):
        assert set(rows["constraint"]) == {NATURAL, ROBUST, UNTRAINED}
        assert keys(rows, "source_seed", "subset_seed") == {(0, 0), (1, 1000)}


@pytest.mark.parametrize("measurement", [transferred.depths, transferred.curves])
def test_blocks_are_trained_of_the_sources_that_a_protocol_names(study, measurement):
    named = replace(PROTOCOL, depth_sources=("linf 2/255", "natural"), depths=(0,))
    rows = measurement(replace(study, protocol=named))
    assert rows["constraint"].unique().tolist() == [OTHER, NATURAL]


@pytest.mark.parametrize(
    ("name", "column", "function", "grid", "more", "narrow"),
    [
        ("heads", "weight_decay", "probes", "decays", "MORE_DECAYS", [1.0, 0.01]),
        ("curves", "lr", "transfers_at_best_rate", "rates", "MORE_RATES", [0.1]),
    ],
)
def test_wider_grids_are_tried_on_the_fewest_images_alone(
    study, monkeypatch, name, column, function, grid, more, narrow
):
    measure, wider = getattr(transferred, name), getattr(transferred, f"{name}_wider")
    plain, asked = getattr(transferred, function), []

    def spy(*given, **call):
        asked.append(sorted(call.get(grid, narrow)))
        yield from plain(*given, **call)

    monkeypatch.setattr(transferred, function, spy)
    rows = wider(study)
    assert not faults(rows, f"{name}_wider", ROBUST)
    assert set(rows["constraint"]) == {NATURAL, ROBUST}
    assert all(tried == sorted([*getattr(transferred, more), *narrow]) for tried in asked)
    monkeypatch.setattr(transferred, more, ())  # then they are the models of the narrow grid
    found, every = wider(study), measure(study)
    fewest = every["n_train"] == every.groupby("target")["n_train"].transform("min")
    same = every[fewest & every["constraint"].isin([NATURAL, ROBUST])]
    shown = ["constraint", "source_seed", "target", "n_train", "subset_seed", column]
    assert keys(found, *shown) == keys(same, *shown)
    for share in ("train_accuracy", "clean_accuracy"):
        assert found[share].tolist() == pytest.approx(same[share].tolist(), abs=0.06)


def test_shape_is_asked_of_what_has_learned(study):
    rows = measurements.shape(study)
    assert set(rows["constraint"]) == {NATURAL, ROBUST, OTHER}
    assert (rows["conflicts"] == 30).all() and len(rows) == 6
    assert rows["decided_of_all"].between(0, 1).all()
    with pytest.raises(ValueError, match="what the sources learn is asked for"):
        measurements.shape(replace(study, learned=None))


def test_cues_are_taken_from_what_the_sources_learned(study):
    rows = measurements.left_of_cues(study)
    assert set(rows["constraint"]) == {NATURAL, ROBUST, OTHER}
    assert {"as it is", "texture not drawn", "low-pass 0.12"} <= set(rows["version"])
    assert rows["accuracy"].between(0, 1).all()
    assert rows.groupby(["constraint", "source_seed"]).size().nunique() == 1
    with pytest.raises(ValueError, match="give its folder as --learned"):
        measurements.left_of_cues(replace(study, learned=None))


def test_what_sources_see_is_judged_by_sources_of_all_other_seeds(study, monkeypatch):
    rows = measurements.inversions(study)
    assert not faults(rows, "inversions", ROBUST)
    assert set(rows["constraint"]) == {NATURAL, ROBUST, OTHER, UNTRAINED}
    asked = []

    def spy(model, *, jury, **_):
        asked.append((model, jury))
        return {"left": 0.0}

    monkeypatch.setattr(inverted, "inversions", spy)
    networks = {
        (c, seed): models.build("small_resnet", 10, seed=seed, width=2)
        for c in (NATURAL, ROBUST, UNTRAINED)
        for seed in range(4)
    }
    measurements.inversions(replace(study, ladder=Ladder(networks)))
    seeds = {id(model): seed for (_, seed), model in networks.items()}
    assert len(asked) == len(networks)
    for model, jury in asked:
        others = [seed for seed in range(4) if seed != seeds[id(model)]]
        assert jury == {
            f"{kind} judges": [networks[kind, seed] for seed in others]
            for kind in (NATURAL, ROBUST)
        }
    with pytest.raises(ValueError, match="give its folder as --learned"):
        measurements.inversions(replace(study, learned=None))


def test_influence_is_counted_and_held_against_leaving_out(study, monkeypatch):
    rows = measurements.influence(photographs(monkeypatch))
    parts = dict(iter(rows.groupby("experiment")))
    assert set(parts) == {"matches", "retrained", "random labels"}
    pair, three = {NATURAL, ROBUST}, {NATURAL, ROBUST, UNTRAINED}
    assert {name: set(part["constraint"]) for name, part in parts.items()} == {
        "matches": three, "retrained": pair, "random labels": pair,
    }  # fmt: skip
    assert keys(parts["matches"], "n", "epochs") == {(n, e) for n in (10, 12) for e in (0, 2)}
    assert keys(parts["random labels"], "n", "epochs", "damping") == {(10, 2, 5e-4), (12, 2, 5e-4)}
    assert set(parts["retrained"]["n"]) == {10}
    assert set(parts["retrained"]["subset_seed"]) == {0, 1000}  # one for each source seed
    assert rows["match"].between(0, 1).all()
    with pytest.raises(ValueError, match="influence is asked of cifar10, and it is no target"):
        measurements.influence(study)


def test_hidden_classes_are_of_true_and_of_random_groups(monkeypatch):
    rows = measurements.hidden(photographs(monkeypatch))
    assert not faults(rows, "hidden", ROBUST)
    assert set(rows["labels"]) == {"true", "random"} and set(rows["target"]) == {"cifar10"}
    assert keys(rows, "source_seed", "subset_seed") == {(0, 0), (0, 1), (1, 1000), (1, 1001)}
    match = rows.groupby("labels")["match"].agg(list)
    assert match["true"] != match["random"]


def test_the_sources_of_the_microcosm_are_those_of_the_chapters(monkeypatch):
    small = {"n_source": 40, "source_epochs": 1, "seeds": 1, "l2": [0.25], "linf": []}
    protocol = protocols.read("microcosm")
    protocol = replace(protocol, sources={**protocol.sources, **small})
    monkeypatch.setattr(studies.datasets, "named", lambda text: {"digits": text})
    few, test = microcosm.draw(40, 0), microcosm.draw(20, 1)
    monkeypatch.setattr(
        studies.datasets,
        "load",
        lambda _, split="train", n=None, **__: test if n is None else few,
    )
    drawn = studies.equip(studies.prepare(protocol), device="cpu")
    assert drawn.ladder.names == [NATURAL, ROBUST, MIXED_TEXTURES, UNTRAINED]
    assert drawn.learned is test and drawn.robust == ROBUST
    assert drawn.main.names == [NATURAL, ROBUST, UNTRAINED]
    assert drawn.targets == {"digits": "all"}


# What is written.


def test_what_is_written_is_read_back(study):
    path = evidence.write(study, "heads", COMMIT)
    assert path == evidence.RESULTS / "microcosm_heads.csv"
    read = measured.evidence("microcosm", "heads", evidence.RESULTS)
    assert not faults(read, "heads", ROBUST) and "seconds" not in read
    assert set(pd.read_csv(path)["constraint"]) == {c.text for c in study.ladder.names}
    plain = transferred.heads(study)[list(read)]
    plain["target"] = plain["target"].replace(measured.TITLES)
    pd.testing.assert_frame_equal(read, plain, rtol=1e-4)
    noted = provenance.read(files.DATA.parent, provenance.EVIDENCE)
    assert list(noted) == ["microcosm_heads"] and noted["microcosm_heads"]["device"] == "cpu"
    assert noted["microcosm_heads"]["commit"] == COMMIT


@pytest.mark.parametrize("name", ["resolutions", "curves", "depths", "shape"])
def test_every_table_of_the_microcosm_can_be_read_and_judged(study, name):
    evidence.write(study, name, COMMIT)
    read = measured.evidence("microcosm", name, evidence.RESULTS)
    assert set(read["constraint"]) <= {NATURAL, ROBUST, OTHER, UNTRAINED}
    assert not set(evidence.NOT_WRITTEN) & set(read)
    judged = {claim for claim, found in contrasts.CONTRASTS.items() if found.table == name}
    if name == "shape" and read["shape_bias_of_all"].isna().any():
        return  # networks of random weights may decide for neither cue
    assert set(contrasts.effects("microcosm", evidence.RESULTS)) == judged


def test_hidden_classes_can_be_read_and_judged(monkeypatch):
    evidence.write(photographs(monkeypatch), "hidden", COMMIT)
    assert not faults(
        measured.evidence("photographs", "hidden", evidence.RESULTS), "hidden", ROBUST
    )
    assert set(contrasts.effects("photographs", evidence.RESULTS)) == {"influence"}
    against = controls.effects("photographs", evidence.RESULTS)["influence"]
    assert list(against) == ["untrained", "its heads on random labels"]


def fits(monkeypatch, stop=None):
    """Count the sizes that heads are fitted to; before the one of number `stop` fail."""
    plain, counted = linear_probe._best_decay, []

    def watched(features, y, decays):
        if len(counted) == stop:
            raise OSError("the disk is full")
        counted.append(len(y))
        return plain(features, y, decays)

    monkeypatch.setattr(linear_probe, "_best_decay", watched)
    return counted


def noted():
    """Return what stands of the heads in evidence.csv."""
    return provenance.read(files.DATA.parent, provenance.EVIDENCE)["microcosm_heads"]


def test_what_is_written_is_not_measured_again(study, monkeypatch, capsys):
    counted = fits(monkeypatch)
    path = evidence.write(study, "heads", COMMIT)
    first, made = path.read_bytes(), noted()
    assert len(counted) == 8 * 5 * 2  # networks, sizes of both targets, subsets
    assert evidence.write(study, "heads", "another") == path
    assert "80 rows, all of them kept from before: " in capsys.readouterr().out
    assert path.read_bytes() == first and len(counted) == 80
    assert noted() == made and made["commit"] == COMMIT
    path.unlink()
    protocol = replace(PROTOCOL, sizes=(10, 15, 20, 40))
    evidence.write(replace(study, protocol=protocol), "heads", "another")
    assert counted[80:] == [15] * 32
    assert len(pd.read_csv(path)) == 80 + 32
    assert noted()["commit"] == "another"
    assert float(noted()["seconds"]) >= float(made["seconds"])


def test_what_was_stopped_goes_on_where_it_ended(study, monkeypatch):
    with monkeypatch.context() as stopped, pytest.raises(OSError, match="the disk is full"):
        fits(stopped, stop=25)
        evidence.write(study, "heads", COMMIT)
    assert not (evidence.RESULTS / "microcosm_heads.csv").exists()
    assert not provenance.read(files.DATA.parent, provenance.EVIDENCE)
    file, began = (evidence.KEPT / f"microcosm_heads.{end}" for end in ("jsonl", "seconds"))
    last = file.stat().st_mtime
    os.utime(began, (last, last - 1000))
    counted = fits(monkeypatch)
    path = evidence.write(study, "heads", COMMIT)
    assert len(counted) == 80 - 24  # the last size had one of two subsets
    assert 1000 < float(noted()["seconds"]) < 1100  # of both runs
    file.unlink()
    evidence.write(study, "heads", COMMIT)
    assert float(noted()["seconds"]) < 100  # all was measured anew
    plain = transferred.heads(study)
    assert pd.read_csv(path)["clean_accuracy"].tolist() == pytest.approx(plain["clean_accuracy"])


def test_rows_of_other_code_are_told_of_with_what_to_do(study, monkeypatch):
    evidence.write(study, "heads", COMMIT)
    monkeypatch.setattr(kept, "_code", lambda _: "studies.linear_probe 0")
    with pytest.raises(ValueError, match=r"microcosm_heads\.jsonl holds .*; delete or move it, or"):
        evidence.write(study, "heads", COMMIT)


# The command.


def run(capsys, *arguments):
    """Run the command; return its exit code, and what it said."""
    code = evidence.main([*map(str, arguments)])
    return code, *capsys.readouterr()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder of images for each target, and one of what the sources learned."""
    root, rng = tmp_path_factory.mktemp("targets"), np.random.default_rng(0)
    names = [*rules()["targets"], "learned"]
    for name in names:
        for split in ("train", "test"):
            for label in ("dark", "light"):
                place = root / name / split / label
                place.mkdir(parents=True)
                for i in range(3):
                    low = 150 * (label == "light")
                    x = rng.integers(low, low + 100, (8, 8, 3), dtype=np.uint8)
                    Image.fromarray(x).save(place / f"{i}.png")
    return {name: root / name for name in names}


@pytest.fixture
def sources(tmp_path, monkeypatch, empty_downloads):
    """Networks of random weights, in place of those that come with the book."""
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "shipped")
    for constraint, share in ((NATURAL, 0.1), (ROBUST, 0.5), (UNTRAINED, 0.1)):
        for seed in (0, 1):
            how = {"constraint": constraint.name, "amount": constraint.amount, "seed": seed}
            how |= {"arch": "small_resnet", "width": 2}
            found = {"clean_accuracy": 0.5, "robust_accuracy": {"l2 0.25": share}}
            model = models.build("small_resnet", 2, seed=seed, width=2)
            shipped.write(model, {"parameters": how, "classes": 2, "validation": found})


def test_one_command_measures_photographs(folders, sources, capsys, monkeypatch):
    plain = protocols.read("photographs")
    monkeypatch.setattr(protocols, "read", lambda _: replace(plain, sizes=(2, 4, 100)))
    targets = [folders[name] for name in reversed(rules()["targets"])]
    code, said, _ = run(capsys, "photographs", *targets, "--only", "heads", "--device", "cpu")
    assert code == 0 and said.startswith("168 rows in ")
    read = measured.evidence("photographs", "heads", evidence.RESULTS)
    assert not faults(read, "heads", ROBUST)
    assert set(read["n_train"]) == {2, 4}
    assert list(read["target"].unique()) == [measured.TITLES[t] for t in rules()["targets"]]
    how = ("--learned", folders["learned"], "--only", "shape", "--device", "cpu")
    assert run(capsys, "photographs", *targets, *how)[0] == 0
    read = measured.evidence("photographs", "shape", evidence.RESULTS)
    assert keys(read, "constraint", "source_seed") == {
        (constraint, seed) for constraint in (NATURAL, ROBUST) for seed in (0, 1)
    }


def test_tables_of_one_command_are_of_the_commit_that_it_began_with(
    folders, sources, capsys, monkeypatch
):
    def commit(_):
        return COMMIT + "+" * any(evidence.RESULTS.glob("*.csv"))

    monkeypatch.setattr(provenance, "commit", commit)
    for name in ("heads", "hidden"):
        table = pd.DataFrame({"constraint": [NATURAL]})
        monkeypatch.setitem(measurements.MEASUREMENTS, name, lambda _, table=table: table)
    targets = [folders[name] for name in rules()["targets"]]
    monkeypatch.setattr(evidence, "check", lambda *_: None)  # such small targets
    only = ("--only", "heads", "--only", "hidden", "--device", "cpu")
    assert run(capsys, "photographs", *targets, *only)[0] == 0
    rows = provenance.read(files.DATA.parent, provenance.EVIDENCE)
    assert {name: row["commit"] for name, row in rows.items()} == {
        "photographs_heads": COMMIT, "photographs_hidden": COMMIT,
    }  # fmt: skip


def test_where_it_is_computed_is_found_out_before(folders, sources):
    folders = [str(folders[name]) for name in ALL]
    study = studies.equip(studies.prepare(protocols.read("photographs"), folders))
    assert study.ladder.device == choose_device("auto") and study.learned is None
    devices = {next(m.parameters()).device.type for m in study.ladder.networks.values()}
    assert devices == {choose_device("auto").type}


ALL = rules()["targets"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["photographs"], f"error: the targets lack {', '.join(ALL)}; give a folder of each"),
        (["photographs", *ALL[1:]], f"error: the targets lack {ALL[0]}; give a folder of each"),
        (
            ["photographs", *ALL, "--only", "shape", "--device", "cpu"],
            "error: what the sources learn is asked for; give its folder as --learned",
        ),
        (["microcosm", ALL[0]], "error: the targets of microcosm come with the book; name none"),
        (
            ["photographs", *ALL, "--device", "abacus"],
            "error: device must be one of auto, cpu, cu",
        ),
        (["microcosm", "--cluster", "here"], "error: 'here' is no address of a Dask scheduler; as"),
        (
            ["drawings"],
            "error: there is no protocol 'drawings'; allowed are microcosm",
        ),
        (["microcosm", "--learned", "x"], "error: the sources of microcosm learn microcosm; leave"),
        (["resnet18", *ALL], "error: what the sources learn is asked for; give its folder as"),
        (["photographs", *ALL, ALL[0]], "error: the targets have 'cifar10'; allowed are cifar10, "),
        (["photographs", *ALL, "learned"], "error: the targets have 'learned'; allowed are cifar"),
        (["microcosm", "--only", "hands"], "error: Invalid value for '--only'"),
        ([], "error: Missing argument 'PROTOCOL'"),
    ],
)
def test_what_is_wrong_is_one_line(folders, sources, capsys, arguments, said):
    given = [str(folders.get(argument, argument)) for argument in arguments]
    code, out, error = run(capsys, *given)
    assert code == 1 and error.startswith(said) and len(error.splitlines()) == 1 and out == ""
    assert not list(evidence.RESULTS.iterdir())


def test_hidden_classes_of_targets_that_have_none_are_one_line(study, capsys, monkeypatch):
    monkeypatch.setattr(studies, "prepare", lambda *_: study)
    code, out, error = run(capsys, "microcosm", "--only", "hidden")
    assert code == 1 and len(error.splitlines()) == 1 and "cifar10" in error and out == ""


TINY = """
sources:
  n_source: 0
  source_epochs: 1
  attack_steps: 1
  l2: [0.25]
  linf: []
  more_sources: noise 0.1
  seeds: 2
  recipe: {width: 2, batch_size: 8, flips: true}
targets: [cifar10, mnist]
measure: [heads, depths]
sizes: [2, 0, 100]
depths: [0, -1]
depth_sizes: [4]
"""


def test_a_protocol_of_ones_own_trains_its_sources_and_measures_them(
    folders, sources, tmp_path, capsys
):
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY)
    arguments = [file, folders["cifar10"], folders["mnist"], "--learned", folders["learned"]]
    code, said, error = run(capsys, *arguments, "--device", "cpu")
    assert code == 0, error
    assert len(said.splitlines()) == 2
    heads, depths = (measured.evidence("tiny", n, evidence.RESULTS) for n in ("heads", "depths"))
    assert measured.worlds(evidence.RESULTS) == ["photographs", "microcosm", "resnet18", "tiny"]
    for name, rows in (("heads", heads), ("depths", depths)):
        assert not faults(rows, name, ROBUST)
        assert set(rows["target"]) == {"CIFAR-10", "MNIST"}
    noise = Constraint("noise", 0.1)
    assert set(heads["constraint"]) == {NATURAL, ROBUST, noise, UNTRAINED}
    assert set(heads["n_train"]) == {2, 6}  # 0 is all six
    assert set(depths["unfrozen_blocks"]) == {0, 5} and set(depths["n_train"]) == {4}
    effects = contrasts.effects("tiny", evidence.RESULTS)
    assert set(effects) == {"better", "most_with_few", "any_depth"}
    held = controls.effects("tiny", evidence.RESULTS)["better"]
    assert list(held) == ["noise 0.1", "untrained"]


def test_the_protocol_for_a_graphics_card_measures_what_every_claim_asks_for(
    folders, sources, tmp_path, capsys, monkeypatch
):
    given = yaml.safe_load((protocols.FOLDER / "resnet18.yaml").read_text())
    given["sources"] |= {"n_source": 0, "source_epochs": 1, "attack_steps": 1, "seeds": 2}
    given["sources"]["recipe"] |= {"arch": "small_resnet", "width": 2, "batch_size": 8}
    given |= {"targets": ["cifar10", "mnist"], "sizes": [2, 4], "curve_sizes": [4]}
    given["depth_sizes"] = [4]
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(given))
    groups = {"cifar10": {"night": ("dark",), "day": ("light",)}}
    monkeypatch.setattr(measurements, "GROUPS", groups)
    monkeypatch.setattr(measurements, "HIDDEN_N", 4)
    arguments = [file, folders["cifar10"], folders["mnist"], "--learned", folders["learned"]]
    code, said, error = run(capsys, *arguments, "--device", "cpu")
    assert code == 0, error
    assert len(said.splitlines()) == len(given["measure"])
    for name in given["measure"]:
        assert not faults(measured.evidence("tiny", name, evidence.RESULTS), name, ROBUST)
    assert set(contrasts.effects("tiny", evidence.RESULTS)) == set(rules()["claims"])


def change(**changes):
    return lambda p: replace(p, **changes)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (change(measure=["heads", "hands"]), "there is no table 'hands'; allowed are heads, head"),
        (change(sizes=(31,)), "faces has 30 training images, and the sizes asked for are 31"),
        (change(measure=["heads", "depths"], depth_sizes=(50,)), "digits has 45 training images"),
        (change(measure=["heads", "depths"], depths=(0, 7)), "7"),
        (
            change(
                measure=["depths"],
                depth_sources=["natural", "l2 3"],
                sources={"source_data": "microcosm", "l2": [0.25], "linf": []},
            ),
            "depth_sources has 'l2 3'; the sources are natural, l2 0.25, .*mixed textures, untra",
        ),
        (change(measure=["heads", "hidden"]), "influence is asked of cifar10"),
        (change(measure=["heads", "stylised"]), "stylised is asked of cifar10, clothing"),
    ],
)
def test_what_a_study_lacks_is_said_before_anything_is_measured(study, changed, said):
    protocol = changed(PROTOCOL)
    with pytest.raises(ValueError, match=said):
        measurements.check(replace(study, protocol=protocol), protocol.measure)


def test_a_study_needs_the_rung_that_all_contrasts_ask_for(sources, folders, tmp_path, capsys):
    file = tmp_path / "strong.yaml"
    file.write_text(TINY.replace("l2: [0.25]", "l2: [0.5]"))
    targets = [folders["cifar10"], folders["mnist"]]
    code, _, error = run(capsys, file, *targets, "--learned", folders["learned"])
    assert code == 1 and error.startswith("error: the l2 of strong lacks 0.25, which all contrasts")
