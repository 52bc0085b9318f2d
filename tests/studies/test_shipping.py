"""The sources that come with the book: trained from a folder, measured, matched, written."""

import json
import shutil

import pytest
import torch
from own_images import to_learn

from lib.attacks import Linf
from lib.constraint import NATURAL, UNTRAINED, Constraint
from lib.robustness import accuracy, robust_accuracy
from lib.studies import Ladder, pretrained, shipping
from lib.zoo import shipped

LOW, HIGH = Constraint("l2", 0.25), Constraint("l2", 0.5)


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """Everything is written to folders of this test, and networks are tiny."""
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "sources")
    monkeypatch.setattr(pretrained, "CACHE", tmp_path / "cache")
    quick = {"width": 2, "epochs": 1, "batch_size": 16}
    monkeypatch.setattr(shipping, "RECIPE", shipping.RECIPE | quick)
    monkeypatch.setattr(shipping, "ATTACK", {"steps": 1, "seed": 0})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return to_learn(tmp_path_factory.mktemp("photographs"))


@pytest.fixture(scope="module")
def images(folder):
    return shipping.parts(folder)


def test_one_image_of_twenty_is_held_out_in_each_class(images):
    assert {name: len(part) for name, part in images.items()} == {
        "learned": 38, "validation": 2, "test": 10,
    }  # fmt: skip
    assert images["validation"].y.tolist() == [0, 1]
    pixels = [x.numpy().tobytes() for part in images.values() for x in part.x]
    assert len(set(pixels)) == 50


def test_what_is_written_is_what_was_trained_and_measured(images):
    record = shipping.ship(images, LOW, 3, device="cpu")
    how = shipping.RECIPE | {"seed": 3, "device": "cpu"}
    split = images["learned"], images["validation"]
    expected, made = pretrained.source(*split, LOW, **how)
    model, read = shipped.load(LOW, 3)
    assert read == record and record["code"] == made["code"] and record["classes"] == 2
    assert record["parameters"] == made["parameters"]  # kept as its recipe and constraint
    assert made["images"] == [record["images"][name] for name in ("learned", "validation")]
    half = shipped.rounded(expected).state_dict()
    assert all(torch.equal(v, half[k]) for k, v in model.state_dict().items())
    for part in ("validation", "test"):
        found = record[part]
        assert found["clean_accuracy"] == accuracy(model, images[part])
        robust = robust_accuracy(model, images[part], Linf(2 / 255), steps=1, seed=0)
        assert found["robust_accuracy"]["linf 2/255"] == robust
        assert list(found["robust_accuracy"]) == list(shipping.BALLS)


def test_what_is_measured_is_what_is_read(images, monkeypatch):
    plain, seen = shipping.measured, []

    def watched(model, part):
        seen.append({k: v.clone() for k, v in model.state_dict().items()})
        return plain(model, part)

    monkeypatch.setattr(shipping, "measured", watched)
    shipping.ship(images, NATURAL, 5, device="cpu")
    read = shipped.load(NATURAL, 5)[0].state_dict()
    assert len(seen) == 2 and all(torch.equal(s[k], v) for s in seen for k, v in read.items())


def test_it_is_done_once(images, monkeypatch):
    first = shipping.ship(images, NATURAL, 0, device="cpu")
    monkeypatch.setattr(pretrained, "source", None)
    monkeypatch.setattr(shipping, "measured", None)
    assert shipping.ship(images, NATURAL, 0, device="cpu") == first


def test_random_weights_have_seen_what_the_others_learned(images):
    shipping.ship(images, UNTRAINED, 1, device="cpu")
    how = {"seed": 1, "width": 2, "device": "cpu"}
    expected = shipped.rounded(pretrained.untrained(images["learned"], **how)).state_dict()
    found = shipped.load(UNTRAINED, 1)[0].state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in found.items())


def noted(constraint, seed, **robust):
    """Write a network of random weights whose record has these accuracies under attack."""
    how = {"constraint": constraint.name, "amount": constraint.amount, "seed": seed}
    how |= {"arch": "small_resnet", "width": 2}
    model = pretrained.build("small_resnet", 2, width=2)
    found = {"clean_accuracy": 0.5, "robust_accuracy": robust["kept"]}
    shipped.write(model, {"parameters": how, "classes": 2, "validation": found})


def test_the_rung_is_the_smallest_radius_that_keeps_twenty_points_more():
    with pytest.raises(ValueError, match="no ℓ2 source beside a natural one of its seed"):
        shipping.rung()
    for seed, natural in enumerate((0.1, 0.3)):
        noted(NATURAL, seed, kept={"l2 0.25": natural, "l2 0.5": 0.05})
        noted(HIGH, seed, kept={"l2 0.5": 0.35})
    noted(LOW, 0, kept={"l2 0.25": 0.35})
    noted(Constraint("linf", 2 / 255), 0, kept={"linf 2/255": 0.9})
    noted(LOW, 7, kept={"l2 0.25": 0.0})  # there is no natural one of this seed
    assert shipping.rung() == LOW  # 25 points, of one seed
    noted(LOW, 1, kept={"l2 0.25": 0.4})
    assert shipping.rung() == HIGH  # 17.5 points, mean over seeds, where 30 are kept
    for seed in (0, 1):
        noted(HIGH, seed, kept={"l2 0.5": 0.15})
    assert shipping.rung() == LOW  # none keeps 20 more, and 10 are fewer than 17.5


def test_the_amount_of_a_control_is_found_on_a_line():
    def falling(amount):
        return 0.4 - amount

    tries = shipping.matched(falling, (0.1, 0.3), 0.25, whole=False)
    assert [amount for amount, _ in tries][-1] == 0.15 and len(tries) == 3
    assert shipping.matched(falling, (0.153, 0.3), 0.25, whole=False) == [(0.153, 0.4 - 0.153)]
    # A curve takes more tries, TRIES at most; the nearest is the last.
    tries = shipping.matched(lambda amount: 0.5 * 0.01**amount, (0.1, 1.9), 0.05, whole=False)
    assert len(tries) <= shipping.TRIES
    assert abs(tries[-1][1] - 0.05) == min(abs(got - 0.05) for _, got in tries)
    # Where two tries on one side are alike, the line goes from the nearer to the other side.
    found = {0.2: 0.05, 0.3: 0.2, 0.38: 0.309, 0.36: 0.3092}
    tries = shipping.matched(lambda a: found.get(a, 0.29), (0.36, 0.38), 0.29, whole=False)
    assert len(tries) > 2
    assert shipping._between([*found.items()], 0.29, False) == pytest.approx(0.35, abs=0.005)
    # Whole numbers are not tried twice.
    tries = shipping.matched(lambda epochs: 0.03 * epochs, (4, 6), 0.14, whole=True)
    assert [epochs for epochs, _ in tries] == [4, 6, 5] or tries[-1] == (5, 0.15)
    assert all(isinstance(epochs, int) for epochs, _ in tries)
    assert len(shipping.matched(lambda amount: 0.1, (1, 2), 0.5, whole=False)) == 2


def run(capsys, *arguments):
    """Run the command; return its exit code, and what it said."""
    code = shipping.main([*map(str, arguments)])
    return code, *capsys.readouterr()


def test_one_command_makes_them_and_the_ladder_takes_them(folder, capsys, monkeypatch):
    monkeypatch.setattr(shipping, "SOURCES", [NATURAL, LOW, UNTRAINED])
    monkeypatch.setattr(shipping, "AMOUNTS", {"noise": (0.1, 0.2), "natural until": (1, 2)})
    monkeypatch.setattr(shipping, "TRIES", 2)
    code, said, _ = run(capsys, folder, "--seeds", 1, "--controls", "--device", "cpu")
    names = [path.stem for path in shipped.available().values()]
    assert code == 0 and [line.split(":")[0] for line in said.splitlines()] == [
        "natural_seed0", "l2_0.25_seed0", "untrained_seed0", *names[2:4],
    ]  # fmt: skip
    assert names[2].startswith("noise_0.") and names[3].startswith("natural_until_")
    until = json.loads((shipped.FOLDER / f"{names[3]}.json").read_text())
    assert until["chosen"]["rung"] == "l2 0.25" and len(until["chosen"]["tries"]) <= 2
    goal = shipped.load(LOW, 0)[1]["validation"]["clean_accuracy"]
    assert until["chosen"]["goal"] == goal
    assert until["parameters"]["epochs"] in [tried for tried, _ in until["chosen"]["tries"]]
    before = {path: path.stat().st_mtime_ns for path in shipped.FOLDER.iterdir()}
    code, _, _ = run(capsys, folder, "--seeds", 1, "--only", "L2 1/4", "--device", "cpu")
    assert code == 0
    assert before == {path: path.stat().st_mtime_ns for path in shipped.FOLDER.iterdir()}
    # Nor is anything tried for controls that are there.
    shutil.rmtree(pretrained.CACHE)
    monkeypatch.setattr(pretrained, "source", None)
    again = run(capsys, folder, "--seeds", 1, "--controls", "--device", "cpu")
    assert again == (0, said, "")
    assert before == {path: path.stat().st_mtime_ns for path in shipped.FOLDER.iterdir()}
    given = {"source_data": "photographs", "l2": [0.25], "linf": [], "device": "cpu", "seeds": 1}
    ladder = Ladder.of({**given, "source_epochs": 6, "attack_steps": 1})
    assert list(ladder.networks) == [(NATURAL, 0), (LOW, 0), (UNTRAINED, 0)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no/such/folder"], "error: there is no data set or folder"),
        ([], "error: Missing argument 'FOLDER'"),
        (["FOLDER", "--only", "l2 9"], "error: only is 'l2 9'; allowed are natural, l2 0.25, l2 0"),
        (["FOLDER", "--only", "robust"], "error: constraint is 'robust'; allowed"),
        (["FOLDER", "--seeds", "0"], "error: Invalid value for '--seeds'"),
    ],
)
def test_what_is_wrong_is_one_line(folder, capsys, arguments, said):
    code, out, error = run(capsys, *[str(folder) if a == "FOLDER" else a for a in arguments])
    assert code == 1 and error.startswith(said) and len(error.splitlines()) == 1 and out == ""
    assert not shipped.FOLDER.exists()
