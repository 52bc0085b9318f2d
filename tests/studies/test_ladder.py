"""The networks that are compared: how they are made, chosen and measured."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from lib import datasets, microcosm
from lib.constraint import FROM_SCRATCH, MIXED_TEXTURES, NATURAL, UNTRAINED, Constraint
from lib.images import doubling
from lib.runtime.rules import ParameterError
from lib.studies import By, Ladder, pretrained
from lib.studies.ladder import NETWORK
from lib.transfer import transfer
from lib.zoo import models, shipped

L2, WIDE, LINF = Constraint("l2", 0.1), Constraint("l2", 0.5), Constraint("linf", 4 / 255)
GIVEN = {"l2": [0.1], "linf": [], "seeds": 2, "source_epochs": 1, "attack_steps": 1}
GIVEN |= {"device": "cpu"}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Sources of this test alone; on one worker, which is this process."""
    monkeypatch.setattr(pretrained, "CACHE", tmp_path / "sources")
    monkeypatch.setattr("lib.runtime.parallel.cpu_count", lambda: 1)


@pytest.fixture(scope="module")
def sets():
    return datasets.load("faces", n=20), datasets.load("faces", "test", n=20)


def small(seed=0, classes=2):
    return models.build("small_resnet", classes, seed=seed, width=2).eval()


def toys(*constraints, seeds=1, **settings):
    """A ladder of small random networks."""
    keys = [(constraint, seed) for seed in range(seeds) for constraint in constraints]
    return Ladder({key: small(i) for i, key in enumerate(keys)}, **settings)


def same(one, two):
    return all(map(torch.equal, one.state_dict().values(), two.state_dict().values()))


# How it is made.


def test_a_ladder_has_the_sources_that_its_parameters_ask_for_and_controls(sets):
    ladder = Ladder.of(GIVEN | {"source_data": "faces", "target": "digits"}, *sets)
    assert list(ladder.networks) == [
        (NATURAL, 0), (L2, 0), (NATURAL, 1), (L2, 1), (UNTRAINED, 0), (UNTRAINED, 1),
    ]  # fmt: skip
    for (constraint, seed), model in ladder.networks.items():
        if constraint == UNTRAINED:
            expected = pretrained.untrained(sets[0], seed=seed, device="cpu")
        else:
            how = {"seed": seed, "epochs": 1, "attack_steps": 1, "device": "cpu"}
            expected, record = pretrained.source(*sets, constraint, **how)
            assert ladder.records[constraint, seed] == record
        assert same(model, expected) and not model.training
    assert ladder.names == [NATURAL, L2, UNTRAINED] and ladder.seeds == [0, 1]
    assert ladder.noted == {"source_data": "faces", "source_epochs": 1, "attack_steps": 1}
    making = ladder.making()
    assert list(making["constraint"]) == [NATURAL, L2, NATURAL, L2]
    assert list(making["source_seed"]) == [0, 0, 1, 1]
    assert making["test_accuracy"].between(0, 1).all()


def test_further_kinds_of_sources_are_asked_for_by_their_names(sets):
    more = {"seeds": 1, "more_sources": "noise 0.2, ℓ2 0.1, natural until 0.1"}
    ladder = Ladder.of(GIVEN | more, *sets)
    noise, until = Constraint("noise", 0.2), Constraint("natural until", 0.1)
    assert ladder.names == [NATURAL, L2, noise, until, UNTRAINED]
    assert ladder.robust == [L2]
    how = {"epochs": 1, "attack_steps": 1, "device": "cpu"}
    for name in (noise, until):
        assert same(ladder.networks[name, 0], pretrained.source(*sets, name, **how)[0])
    rows = ladder.measure(told, label="told")  # through the text of each and back
    assert list(rows["constraint"]) == [NATURAL, L2, noise, until, UNTRAINED]
    with pytest.raises(ValueError, match="constraint is from scratch; allowed are natural, l2"):
        Ladder.of(GIVEN | {"seeds": 1, "more_sources": "from scratch"}, *sets)
    with pytest.raises(ValueError, match="more_sources are trained, and checkpoints are not"):
        Ladder.of(GIVEN | more | {"checkpoints": "natural=small_resnet:a.pt"}, *sets)


def test_constraints_seeds_and_controls_can_be_chosen(sets):
    chosen = Ladder.of(GIVEN, *sets, under=[L2], seeds=[7], controls=False)
    assert list(chosen.networks) == [(L2, 7)]
    how = {"seed": 7, "epochs": 1, "attack_steps": 1, "device": "cpu"}
    assert same(chosen.networks[L2, 7], pretrained.source(*sets, L2, **how)[0])


def test_sources_of_mixed_textures_learn_shapes_alone():
    test = microcosm.draw(20, 1, size=40)
    ladder = Ladder.of_mixed_textures(GIVEN | {"seeds": 1}, 60, test)
    assert list(ladder.networks) == [(MIXED_TEXTURES, 0)]
    generator = torch.Generator().manual_seed(0)
    texture = torch.randint(10, (60,), generator=generator)
    shapes = microcosm.draw(60, 7, texture=texture, size=40)
    how = {"epochs": 1, "attack_steps": 1, "device": "cpu"}
    assert same(ladder.networks[MIXED_TEXTURES, 0], pretrained.source(shapes, test, **how)[0])


def files_of(folder, *names):
    """Write a file of random weights for each name, and name them all."""
    for i in range(len(names)):
        torch.save(models.build("small_resnet", 4, seed=i).state_dict(), folder / f"{i}.pt")
    return ", ".join(f"{name}=small_resnet:{folder}/{i}.pt" for i, name in enumerate(names))


def test_checkpoints_take_the_place_of_the_sources(tmp_path, sets):
    text = files_of(tmp_path, "natural", "l2 3", "l2 0.5", "linf 0.0157")
    ladder = Ladder.of(GIVEN | {"checkpoints": text}, *sets)
    assert list(ladder.networks) == [
        (NATURAL, 0), (Constraint("l2", 0.5), 0), (Constraint("l2", 3.0), 0),
        (Constraint("linf", 0.0157), 0), (UNTRAINED, 0),
    ]  # fmt: skip
    expected = models.build("small_resnet", 4, seed=2)
    assert same(ladder.networks[Constraint("l2", 0.5), 0], expected)
    assert not any(model.training for model in ladder.networks.values())
    assert not pretrained.CACHE.exists()
    # Where constraints are named they are trained, whatever the files are.
    of_own = Ladder.of(GIVEN | {"checkpoints": text}, *sets, under=[NATURAL], seeds=[0])
    assert list(of_own.networks) == [(NATURAL, 0), (UNTRAINED, 0)]


def test_several_files_of_a_constraint_are_its_seeds(tmp_path, sets):
    text = files_of(tmp_path, "natural", "l2 3", "natural", "l2 3")
    ladder = Ladder.of(GIVEN | {"checkpoints": text}, *sets, controls=False)
    strong = Constraint("l2", 3.0)
    assert list(ladder.networks) == [(NATURAL, 0), (NATURAL, 1), (strong, 0), (strong, 1)]
    assert same(ladder.networks[NATURAL, 1], models.build("small_resnet", 4, seed=2))


@pytest.fixture
def photographs(tmp_path, monkeypatch):
    """What a chapter is given that starts from sources of the book: here three and a control."""
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "shipped")
    for i, name in enumerate((NATURAL, L2, Constraint("linf", 2 / 255), UNTRAINED)):
        how = {"constraint": name.name, "amount": name.amount, "seed": 0, "width": 2}
        about = {"parameters": how | {"arch": "small_resnet"}, "classes": 5}
        shipped.write(small(i, classes=5), about)
    given = {"source_data": "photographs", "n_source": 2500, "source_epochs": 6, "image_size": 32}
    return GIVEN | {"seeds": 1} | given


def test_sources_of_photographs_are_not_trained_but_come_with_the_book(photographs):
    ladder = Ladder.of(photographs | {"linf": [0.00784]})
    exact = Constraint("linf", 2 / 255)
    assert list(ladder.networks) == [(NATURAL, 0), (L2, 0), (exact, 0), (UNTRAINED, 0)]
    for (name, seed), model in ladder.networks.items():
        expected, record = shipped.load(name, seed)
        assert same(model, expected) and not model.training
        assert ladder.records[name, seed] == record
    # What they have not had is not noted of them.
    assert ladder.noted == {"source_data": "photographs", "image_size": 32}
    assert not pretrained.CACHE.exists()
    chosen = Ladder.of(photographs, under=[exact], seeds=[0])
    assert list(chosen.networks) == [(exact, 0)]
    assert list(Ladder.of(photographs, controls=False).networks) == [(NATURAL, 0), (L2, 0)]
    rows = ladder.measure(told, label="told")
    assert list(rows["constraint"]) == [NATURAL, L2, exact, UNTRAINED]


@pytest.mark.parametrize(
    "asked", [{"l2": [0.1, 0.5]}, {"seeds": 2}, {"more_sources": "noise 0.1"}], ids=str
)
def test_what_does_not_come_with_the_book_is_not_trained_either(photographs, asked):
    listed = r"those that do are natural, l2 0\.1, linf 2/255, untrained \(seeds 0\)$"
    with pytest.raises(ValueError, match=listed):
        Ladder.of(photographs | asked)


def test_images_that_are_given_are_learned_whatever_source_data_is(photographs, sets):
    ladder = Ladder.of(photographs | {"source_epochs": 1}, *sets, controls=False)
    how = {"epochs": 1, "attack_steps": 1, "device": "cpu"}
    assert same(ladder.networks[L2, 0], pretrained.source(*sets, L2, **how)[0])


def test_without_images_those_of_source_data_are_learned():
    given = GIVEN | {"source_data": "faces", "n_source": 20, "seeds": 1, "image_size": 24}
    learned = datasets.load("faces", n=20, size=24), datasets.load("faces", "test", size=24)
    found, expected = Ladder.of(given), Ladder.of(given, *learned)
    assert list(found.networks) == list(expected.networks)
    assert all(same(found.networks[key], model) for key, model in expected.networks.items())


def test_beside_checkpoints_the_microcosm_stands_for_photographs(photographs, tmp_path):
    """Only the statistics of the untrained control are measured on it."""
    text = files_of(tmp_path, "natural", "l2 3")
    asked = photographs | {"checkpoints": text, "n_source": 40}
    ladder = Ladder.of(asked)
    expected = pretrained.untrained(datasets.load("microcosm", n=40), device="cpu")
    assert same(ladder.networks[UNTRAINED, 0], expected)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["natural", "l2 3", "l2 3"], "the checkpoints are 1 natural, 2 l2 3; allowed are as many"),
        (["natural", "natural"], "the checkpoints are 2 natural; allowed"),
        (["l2 1", "l2 3"], "the checkpoints are 1 l2 1, 1 l2 3; allowed"),
        (["natural", "l2 3", "l2 3.0000001"], "both shown as ℓ2 3; give only one"),
    ],
)
def test_checkpoints_that_are_no_ladder(tmp_path, sets, names, said):
    with pytest.raises(ValueError, match=said):
        Ladder.of(GIVEN | {"checkpoints": files_of(tmp_path, *names)}, *sets)


@pytest.mark.parametrize("asked", ["auto", "cpu"])
def test_sources_of_a_cluster_are_kept_here(sets, monkeypatch, asked):
    """The workers train them; the chapter takes those that it has."""
    trained = []

    def on_cluster(address, function, calls, *, label, device):
        assert (address, function, device) == ("tcp://x:1", pretrained.source, asked)
        trained.append(len(calls))
        here, pretrained.CACHE = pretrained.CACHE, pretrained.CACHE / "of a worker"
        made = [(number, function(**call)) for number, call in enumerate(calls)]
        pretrained.CACHE = here
        yield from reversed(made)  # in whatever order they end

    monkeypatch.setattr("lib.studies.making.on_cluster", on_cluster)
    given = GIVEN | {"device": asked, "cluster": "tcp://x:1"}
    first, again = (Ladder.of(given, *sets, controls=False) for _ in range(2))
    assert trained == [4, 0] and (first.device, first.cluster) == (asked, "tcp://x:1")
    plain = Ladder.of(GIVEN, *sets, controls=False)
    for key, model in plain.networks.items():
        assert same(model, first.networks[key]) and same(model, again.networks[key])
        assert first.records[key]["parameters"] == again.records[key]["parameters"]
        assert again.records[key]["worker"] == first.records[key]["machine"]
        assert not again.networks[key].training
    # What was trained here is not trained there again.
    Ladder.of(given | {"seeds": 3, "l2": [0.5]}, *sets, controls=False)
    assert trained == [4, 0, 4]


# How its networks are chosen.


def test_the_robust_one_that_stands_for_the_others():
    ladder = toys(NATURAL, WIDE, L2, Constraint("l2", 0.25), LINF, UNTRAINED)
    assert [name.amount for name in ladder.robust] == [0.1, 0.25, 0.5]
    assert ladder.middle.amount == 0.25
    of_linf = toys(NATURAL, Constraint("linf", 0.02), Constraint("linf", 0.01))
    assert of_linf.middle == Constraint("linf", 0.01)  # of two the weaker
    with pytest.raises(ValueError, match="no source is robust"):
        toys(NATURAL, UNTRAINED).middle  # noqa: B018


def test_only_some_of_them_in_the_order_named():
    ladder = toys(NATURAL, L2, UNTRAINED, seeds=3)
    ladder = Ladder(ladder.networks, {key: {"n": 1} for key in ladder.networks if key[0] != L2})
    some = ladder.only(UNTRAINED, NATURAL, LINF, seeds=[2, 0, 9])
    assert list(some.networks) == [(UNTRAINED, 2), (UNTRAINED, 0), (NATURAL, 2), (NATURAL, 0)]
    assert all(some.networks[key] is ladder.networks[key] for key in some.networks)
    assert set(some.records) == set(some.networks)
    assert set(ladder.only().networks) == set(ladder.networks)
    assert ladder.only(L2).names == [L2] and not ladder.only(L2).records
    assert list(ladder.only(seeds=[1]).networks) == [(NATURAL, 1), (L2, 1), (UNTRAINED, 1)]


def test_two_ladders_and_another_name():
    ladder = toys(NATURAL, L2, seeds=2, rows_file="a.jsonl")
    scratch = ladder.only(NATURAL).named(FROM_SCRATCH)
    assert list(scratch.networks) == [(FROM_SCRATCH, 0), (FROM_SCRATCH, 1)]
    both = ladder | scratch
    assert both.names == [NATURAL, L2, FROM_SCRATCH] and both.rows_file == "a.jsonl"
    assert both.networks[FROM_SCRATCH, 1] is ladder.networks[NATURAL, 1]
    assert ladder.names == [NATURAL, L2]


def test_subsets_are_those_of_a_source_seed_and_of_no_other():
    found = toys(NATURAL, L2, seeds=3).subsets(2)
    assert found == By("source_seed", {0: [0, 1], 1: [1000, 1001], 2: [2000, 2001]})


def test_settings_are_kept_for_all_calls_that_do_not_give_them():
    def told(model, *, value, seeds, n=0):
        return {"got": f"{value}, {seeds}, {n}"}

    plain = toys(NATURAL, L2, seeds=2)
    ladder = plain.using(value="kept", seeds=plain.subsets(1)).using(n=3)
    each = ladder.only(L2).each(told, label="x")
    assert each == {(L2, 0): {"got": "kept, [0], 3"}, (L2, 1): {"got": "kept, [1000], 3"}}
    rows = ladder.measure(told, over={"value": ["a"]}, n=4, label="x")
    assert list(rows["got"]) == ["a, [0], 4"] * 2 + ["a, [1000], 4"] * 2
    assert plain.settings == {}


def test_networks_that_do_not_fit_are_refused(sets):
    networks = {(NATURAL, 0): small(), (L2, 0): small(classes=4)}
    Ladder({(NATURAL, 0): networks[NATURAL, 0]}).check_classes(sets[1])
    with pytest.raises(ValueError, match=r"network ℓ2 0.1 tells 4 classes apart, .* has 2; name"):
        Ladder(networks).check_classes(sets[1])
    Ladder(networks).check_blocks(0, 4, -1)
    with pytest.raises(ValueError, match="unfrozen_blocks is 9"):
        Ladder(networks).check_blocks(0, 9)


# How they are measured.


def told(network, a=0, b=0, **_):
    """Say which network and arguments it was called with."""
    return {"of": float(network.head.weight.detach().sum()), "a_given": a, "b_given": b}


def several(network, count):
    return [{"i": i} for i in range(count)]


def test_rows_are_of_every_entry_and_network_in_that_order():
    ladder = toys(NATURAL, L2, LINF, seeds=2)
    rows = ladder.measure(told, over={"a": {"one": 1, "two": 2}, "b": [5, 6]}, label="told")
    assert list(rows) == ["constraint", "source_seed", "a", "b", "of", "a_given", "b_given"]
    expected = [(c, s, a, b) for a in ("one", "two") for b in (5, 6) for c, s in ladder.networks]
    assert list(rows[["constraint", "source_seed", "a", "b"]].itertuples(index=False)) == expected
    assert list(rows["a_given"]) == [{"one": 1, "two": 2}[a] for a in rows["a"]]
    assert list(rows["b_given"]) == list(rows["b"])
    sums = {key: float(m.head.weight.detach().sum()) for key, m in ladder.networks.items()}
    keys = zip(rows["constraint"], rows["source_seed"], strict=True)
    assert list(rows["of"]) == [sums[key] for key in keys]
    # The very constraints of the ladder, 4/255 to its last digit.
    assert set(rows["constraint"]) == {NATURAL, L2, LINF}


def test_without_over_there_is_a_call_for_each_network():
    rows = toys(NATURAL, L2).measure(several, count=2, label="several")
    assert list(rows["i"]) == [0, 1, 0, 1]
    assert list(rows["constraint"]) == [NATURAL, NATURAL, L2, L2]
    assert toys(NATURAL).measure(several, count=0, label="none").empty


def test_an_argument_may_differ_by_any_column():
    ladder = toys(NATURAL, L2, seeds=2)
    over = {"target": {"x": "X", "y": "Y"}, "a": {1: 1, "three": 3}}
    rows = ladder.measure(told, over=over, b=By("a", {1: 10, "three": 30}), label="told")
    first = rows[(rows["constraint"] == L2) & (rows["source_seed"] == 1)]
    assert first[["target", "a", "a_given", "b_given"]].to_numpy().tolist() == [
        ["x", 1, 1, 10], ["x", "three", 3, 30], ["y", 1, 1, 10], ["y", "three", 3, 30],
    ]  # fmt: skip
    by_network = By(NETWORK, {key: i for i, key in enumerate(ladder.networks)})
    rows = ladder.measure(told, a=by_network, b=By("constraint", {NATURAL: 1, L2: 2}), label="told")
    assert list(rows["a_given"]) == [0, 1, 2, 3] and list(rows["b_given"]) == [1, 2, 1, 2]


def sized(network, n, folder, times=1):
    """Yield a row for each of n, and leave a trace of them."""
    with (folder / "calls").open("a") as trace:
        trace.write(f"{'+'.join(map(str, n))}\n")
    for size in n:
        yield {"n_train": size, "given": times * size}


@pytest.mark.parametrize("rows_file", ["", "r.jsonl"])
def test_a_call_takes_several_values_together(tmp_path, rows_file):
    ladder = toys(NATURAL, L2, rows_file=str(tmp_path / rows_file) if rows_file else "")
    sizes = By("target", {"x": [1, 2, 4, 2], "y": [8]})
    call = {"over": {"target": ["x", "y"], "times": [1, 10]}, "together": {"n": sizes}}
    call |= {"function": without_target, "folder": tmp_path, "label": "sized"}
    rows = ladder.measure(**call)
    expected = [
        (target, times, constraint, n)
        for target, ns in {"x": [1, 2, 4], "y": [8]}.items()
        for times in (1, 10)
        for constraint in (NATURAL, L2)
        for n in ns
    ]
    columns = ["target", "times", "constraint", "n_train"]
    assert list(rows[columns].itertuples(index=False, name=None)) == expected
    assert list(rows["given"]) == [times * n for _, times, _, n in expected]
    assert calls_of(tmp_path) == ["1+2+4"] * 4 + ["8"] * 4
    if rows_file:
        more = By("target", {"x": [1, 2, 3, 4], "y": [8]})
        again = ladder.measure(**call | {"together": {"n": more}})
        assert calls_of(tmp_path)[8:] == ["3"] * 4
        assert list(again["n_train"]) == [1, 2, 3, 4] * 4 + [8] * 4
        # A plain list of one value is the same unit.
        ladder.measure(**call | {"together": {"n": [8]}})
        assert calls_of(tmp_path)[12:] == ["8"] * 4  # of target x


def without_target(network, target, **call):
    return sized(network, **call)


def doubled(network, times, x):
    return times * x * network.head.weight.sum()


def test_results_that_are_no_rows_come_by_network():
    ladder = toys(NATURAL, L2, seeds=2)
    times = By("source_seed", {0: 1, 1: 2})
    found = ladder.each(doubled, label="doubled", times=times, x=torch.ones(3))
    assert list(found) == list(ladder.networks)
    for (_, seed), value, model in zip(
        found, found.values(), ladder.networks.values(), strict=True
    ):
        expected = (1 + seed) * torch.ones(3) * model.head.weight.sum()
        assert torch.equal(value, expected)
    again = ladder.each(doubled, label="again", times=By(NETWORK, found), x=1)
    assert [v.shape for v in again.values()] == [(3,)] * 4


def test_it_measures_what_transfer_measures(sets):
    ladder = toys(NATURAL, L2, seeds=2)
    targets = {"faces": datasets.pair("faces"), "again": sets}
    sizes = By("target", {name: doubling(pair[0], 8) for name, pair in targets.items()})
    rows = ladder.measure(
        transfer, over={"target": targets}, n=sizes, seeds=ladder.subsets(2), epochs=2, label="x"
    )
    one = rows[
        (rows["target"] == "again") & (rows["constraint"] == L2) & (rows["source_seed"] == 1)
    ]
    plain = transfer(ladder.networks[L2, 1], sets, n=[4, 8], seeds=[1000, 1001], epochs=2).drop(
        columns="seconds"
    )
    found = one[list(plain)].reset_index(drop=True)
    shares = ["clean_accuracy", "train_accuracy"]
    pd.testing.assert_frame_equal(found.drop(columns=shares), plain.drop(columns=shares))
    # Other threads add up in another order, and may exchange the two best classes of an image.
    pd.testing.assert_frame_equal(found[shares], plain[shares], rtol=0, atol=1.01 / 4)


@pytest.mark.parametrize("rows_file", ["", "r.jsonl"])
def test_what_is_not_finite_is_one_line_that_says_of_what(sets, tmp_path, rows_file):
    ladder = toys(NATURAL, rows_file=str(tmp_path / rows_file) if rows_file else "")
    call = {"n": 8, "epochs": 3, "lr": 1e20, "label": "fine-tuned"}
    said = r"not finite; lower lr, now 1e\+20 \(constraint natural, source_seed 0, target faces\)"
    with pytest.raises(ParameterError, match=said) as caught:
        ladder.measure(transfer, over={"target": {"faces": sets}}, **call)
    assert len(str(caught.value).splitlines()) == 1


# What is kept.


def counted(network, folder, value):
    """Leave a trace of having been called; the network of seed 1 waits to be killed."""
    with (folder / "calls").open("a") as trace:
        trace.write(f"{value}\n")
    if value == "wait" and not (folder / "released").exists():
        (folder / "waiting").touch()
        time.sleep(120)
    return {"result": 1 / 3, "given": value}


def calls_of(folder):
    file = folder / "calls"
    return file.read_text().split() if file.exists() else []


def test_what_is_kept_is_not_measured_again(tmp_path):
    ladder = toys(
        NATURAL, LINF, seeds=2, rows_file=str(tmp_path / "r.jsonl"), noted={"n_source": 7}
    )
    call = {"label": "counted", "folder": tmp_path}
    first = ladder.measure(counted, over={"value": ["a", "b"]}, **call)
    again = ladder.measure(counted, over={"value": ["b", "c"]}, **call)
    assert len(calls_of(tmp_path)) == 8 + 4
    plain = Ladder(ladder.networks).measure(counted, over={"value": ["a", "b"]}, **call)
    pd.testing.assert_frame_equal(first[list(plain)], plain, check_exact=True)
    assert list(again["value"]) == ["b"] * 4 + ["c"] * 4
    assert set(first["constraint"]) == {NATURAL, LINF}
    # Another network is another call.
    other = Ladder({(NATURAL, 0): small(99)}, rows_file=ladder.rows_file)
    other.measure(counted, over={"value": ["a"]}, **call)
    assert len(calls_of(tmp_path)) == 12 + len(plain) + 1
    assert '"n_source": 7' in (tmp_path / "r.jsonl").read_text()


PROGRAM = """
import pathlib, sys
import test_ladder as t
from lib.studies import Ladder
from lib.constraint import NATURAL
folder = pathlib.Path(sys.argv[1])
ladder = t.toys(NATURAL, t.L2, t.LINF, rows_file=str(folder / "r.jsonl"))
over = {"value": sys.argv[2:]}
print(len(ladder.measure(t.counted, over=over, folder=folder, label="kept")))
"""


def program(folder, *values):
    paths = os.pathsep.join(map(str, Path(__file__).resolve().parents[:3]))
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), *values],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "LOKY_MAX_CPU_COUNT": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def test_after_a_kill_it_goes_on_where_it_ended(tmp_path):
    process = program(tmp_path, "a", "wait", "b")
    end = time.monotonic() + 250
    while time.monotonic() < end and not (tmp_path / "waiting").exists():
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert calls_of(tmp_path) == ["a"] * 3 + ["wait"]
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 3
    (tmp_path / "released").touch()
    output, _ = program(tmp_path, "a", "wait", "b").communicate(timeout=250)
    assert output.split() == [b"9"]
    assert calls_of(tmp_path)[4:] == ["wait"] * 3 + ["b"] * 3
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 9


def test_two_processes_share_a_file(tmp_path):
    (tmp_path / "released").touch()
    both = [program(tmp_path, "a", "b"), program(tmp_path, "b", "c")]
    assert [process.communicate(timeout=250)[0].split() for process in both] == [[b"6"], [b"6"]]
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 9
    # Whatever either has kept, nothing is measured a third time.
    before = len(calls_of(tmp_path))
    ladder = toys(NATURAL, L2, LINF, rows_file=str(tmp_path / "r.jsonl"))
    rows = ladder.measure(counted, over={"value": ["a", "b", "c"]}, folder=tmp_path, label="kept")
    assert len(rows) == 9 and len(calls_of(tmp_path)) == before
