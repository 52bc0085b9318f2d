import pytest
import torch

from lib import datasets
from lib.advisor import candidates, starts
from lib.constraint import FROM_SCRATCH, NATURAL, UNTRAINED, Constraint
from lib.studies import pretrained
from lib.zoo import models, shipped

QUICK = {"source_data": "faces", "n_source": 20, "source_epochs": 1, "device": "cpu"}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "CACHE", tmp_path / "sources")
    monkeypatch.setattr("lib.runtime.parallel.cpu_count", lambda: 1)  # this process trains


def test_starts_are_the_sources_of_that_name():
    names = ["untrained", "l2 0.25", "natural", "from scratch", "noise 0.1"]
    found = starts.load(names, source_seed=3, **QUICK)
    under = [UNTRAINED, Constraint("l2", 0.25), NATURAL, FROM_SCRATCH, Constraint("noise", 0.1)]
    assert [start.constraint for start in found] == under
    assert [start.name for start in found] == names
    assert {start.size for start in found} == {32}
    train, test = datasets.load("faces", n=20), datasets.load("faces", "test")
    natural, _ = pretrained.source(train, test, seed=3, epochs=1, device="cpu")
    control = pretrained.untrained(train, seed=3, device="cpu")
    for start, expected in ((found[2], natural), (found[0], control), (found[3], control)):
        ours = start.model.state_dict()
        assert all(torch.equal(ours[key], value) for key, value in expected.state_dict().items())
    ladder = candidates.ladder(found, source_seed=3)
    assert list(ladder.networks) == [(start.constraint, 3) for start in found]
    assert all(ladder.networks[start.constraint, 3] is start.model for start in found)
    assert str(ladder.device) == "cpu" and not ladder.rows_file


@pytest.fixture
def photographs(tmp_path, monkeypatch):
    """Sources that come with the book: here two, and random weights."""
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "shipped")
    for seed, name in enumerate((NATURAL, Constraint("l2", 0.5), UNTRAINED)):
        how = {"constraint": name.name, "amount": name.amount, "seed": 3, "width": 2}
        about = {"parameters": how | {"arch": "small_resnet"}, "classes": 5}
        shipped.write(models.build("small_resnet", 5, seed=seed, width=2), about)


def same(start, constraint):
    expected = shipped.load(constraint, 3)[0].state_dict()
    return all(torch.equal(start.model.state_dict()[k], v) for k, v in expected.items())


def test_those_that_come_with_the_book_stand_beside_the_ladder(photographs):
    names = ["natural", "photographs natural", "Photographs ℓ2 1/2"]
    found = starts.load(names, source_seed=3, **QUICK)
    assert [str(s.constraint) for s in found] == [
        "natural", "photographs natural", "photographs ℓ2 0.5",
    ]  # fmt: skip
    assert same(found[1], NATURAL) and same(found[2], Constraint("l2", 0.5))
    assert {s.size for s in found} == {32} and not found[2].model.training
    assert starts.depth(names[2], None) == 0
    with pytest.raises(ValueError, match="under natural with seed 0 comes with the book"):
        starts.load(["photographs natural"], device="cpu")


def test_with_photographs_as_what_it_learned_the_ladder_is_of_those(photographs):
    how = {"source_data": "photographs", "source_seed": 3, "device": "cpu"}
    found = starts.load(["l2 0.5", "natural", "from scratch"], **how)
    assert [s.constraint for s in found] == [Constraint("l2", 0.5), NATURAL, FROM_SCRATCH]
    learned = [Constraint("l2", 0.5), NATURAL, UNTRAINED]
    assert all(same(start, name) for start, name in zip(found, learned, strict=True))
    assert not pretrained.CACHE.exists()
    with pytest.raises(ValueError, match=r"under l2 0\.25 with seed 3 comes with the book"):
        starts.load(["l2 0.25"], **how)
    with pytest.raises(ValueError, match="n_source is 20, but the sources that learned photograph"):
        starts.load(["natural"], n_source=20, **how)


def told(network):
    return {"classes": network.head.out_features}


def test_a_checkpoint_is_called_after_its_file(tmp_path):
    model = models.build("small_resnet", 4, seed=1)
    torch.save(model.state_dict(), tmp_path / "mine.pt")
    (start,) = starts.load([f"small_resnet:{tmp_path / 'mine.pt'}"], device="cpu")
    assert (str(start.constraint), start.size) == ("mine", 32)
    weights = start.model.state_dict()
    assert all(torch.equal(weights[key], value) for key, value in model.state_dict().items())
    large = models.build("torchvision:mobilenet_v2", 3)
    torch.save(large.state_dict(), tmp_path / "large.pt")
    (start,) = starts.load([f"torchvision:mobilenet_v2:{tmp_path / 'large.pt'}"], device="cpu")
    assert start.size == 224
    ladder = candidates.ladder([start])
    rows = ladder.measure(told, label="starts")
    assert list(rows["constraint"]) == [Constraint("large")] and list(rows["classes"]) == [3]
    with pytest.raises(ValueError, match="two sources are called mine"):
        starts.load([f"small_resnet:{tmp_path / 'mine.pt'}"] * 2, device="cpu")


def test_a_checkpoint_says_its_size_and_its_entry(tmp_path):
    weights = [models.build("timm:test_vit", 3, seed=seed).state_dict() for seed in (0, 1)]
    torch.save(dict(zip(("model", "model_ema"), weights, strict=True)), tmp_path / "x.pt")
    names = [f"timm:test_vit@half:{tmp_path / 'x.pt'}#{entry}" for entry in ("model", "model_ema")]
    found = starts.load(names, device="cpu")
    assert [(str(s.constraint), s.size) for s in found] == [("x model", 160), ("x model_ema", 160)]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("natur", "there is no source 'natur' .*allowed are natural"),
        ("l2 0", "there is no source"),
        (__file__, "is a file; write its architecture before it, as in resnet50:"),
        ("resnet50_l2_eps7", "there is no source"),
        ("small_resnet:nowhere.pt", "there is no file nowhere.pt"),
        ("resnet9000:x.pt", "known are"),
    ],
)
def test_unknown_names_are_refused_before_anything_is_trained(name, said):
    with pytest.raises((ValueError, ImportError), match=said):
        starts.load(["natural", name], device="cpu")


def test_random_weights_see_training_images_alone(monkeypatch):
    load = datasets.load

    def training(name, split="train", **how):
        assert split == "train"
        return load(name, split, **how)

    monkeypatch.setattr(datasets, "load", training)
    (start,) = starts.load(["untrained"], **QUICK)
    expected = pretrained.untrained(load("faces", n=20), device="cpu").state_dict()
    ours = start.model.state_dict()
    assert all(torch.equal(ours[key], value) for key, value in expected.items())
    with pytest.raises(ValueError, match="n_source is 900; allowed are"):
        starts.load(["untrained"], **QUICK | {"n_source": 900})


def test_what_has_no_part_in_a_start():
    every = set(starts.load.__kwdefaults__)
    assert starts.idle("l2 0.5") == set()
    assert every - starts.idle("untrained") == {"device", "source_seed", "source_data", "n_source"}
    assert every - starts.idle("natural", "photographs") == {"device", "source_seed", "source_data"}
    assert every - starts.idle("photographs natural") == {"device", "source_seed"}
    assert every - starts.idle("resnet18_l2_eps3") == {"device"}
