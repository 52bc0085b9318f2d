import pytest
import torch

from lib import data, models, published, sources, starts

QUICK = {"source_data": "faces", "n_source": 20, "source_epochs": 1, "device": "cpu"}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "CACHE", tmp_path / "sources")


def test_names_are_those_of_the_ladder_and_are_read_back():
    names = starts.names([0.5, 0.1], [0.0157])
    assert names == ["natural", "l2 0.1", "l2 0.5", "linf 0.0157", "untrained"]
    assert [published.rung(name) for name in names[:4]] == sources.rungs([0.5, 0.1], [0.0157])


def test_starts_are_the_sources_of_that_name(monkeypatch):
    monkeypatch.setattr(sources, "each", lambda f, calls, **_: [f(**call) for call in calls])
    found = starts.load(["untrained", "l2 0.25", "natural"], source_seed=3, **QUICK)
    assert [start.label for start in found] == ["untrained", "ℓ2 0.25", "natural"]
    assert {start.size for start in found} == {32}
    from lib import data

    train, test = data.load("faces", n=20), data.load("faces", "test")
    natural, _ = sources.source(train, test, seed=3, epochs=1, device="cpu")
    control = sources.untrained(train, seed=3, device="cpu")
    for start, expected in ((found[2], natural), (found[0], control)):
        ours = start.model.state_dict()
        assert all(torch.equal(ours[key], value) for key, value in expected.state_dict().items())


def test_a_checkpoint_is_called_after_its_file(tmp_path):
    model = models.build("small_resnet", 4, seed=1)
    torch.save(model.state_dict(), tmp_path / "mine.pt")
    (start,) = starts.load([f"small_resnet:{tmp_path / 'mine.pt'}"], device="cpu")
    assert (start.label, start.size) == ("mine", 32)
    weights = start.model.state_dict()
    assert all(torch.equal(weights[key], value) for key, value in model.state_dict().items())
    large = models.build("torchvision:mobilenet_v2", 3)
    torch.save(large.state_dict(), tmp_path / "large.pt")
    (start,) = starts.load([f"torchvision:mobilenet_v2:{tmp_path / 'large.pt'}"], device="cpu")
    assert start.size == 224
    with pytest.raises(ValueError, match="two sources are called mine"):
        starts.load([f"small_resnet:{tmp_path / 'mine.pt'}"] * 2, device="cpu")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("natur", "there is no source 'natur'; allowed are natural"),
        ("l2 0", "there is no source"),
        ("resnet50_l2_eps7", "there is no source"),
        ("small_resnet:nowhere.pt", "there is no file nowhere.pt"),
        ("resnet9000:x.pt", "known are"),
    ],
)
def test_unknown_names_are_refused_before_anything_is_trained(name, said):
    with pytest.raises((ValueError, ImportError), match=said):
        starts.load(["natural", name], device="cpu")
    with pytest.raises((ValueError, ImportError), match=said):
        starts.known("sources", f"natural, {name}")


def test_a_parameter_lists_names():
    starts.known("sources", "")
    starts.known("sources", "natural, resnet18_l2_eps3")
    with pytest.raises(ValueError, match="write names with commas"):
        starts.known("sources", ["natural"])


def test_a_ladder_has_controls_for_each_of_its_seeds():
    train, test = data.load("faces", n=20), data.load("faces", "test", n=20)
    settings = {"epochs": 1, "attack_steps": 1, "device": "cpu"}
    rungs = sources.rungs([0.1], [])
    found, named = starts.of_ladder(train, test, rungs, range(2), **settings)
    assert named == rungs
    assert list(found) == [
        ("natural", 0), ("ℓ2 0.1", 0), ("natural", 1), ("ℓ2 0.1", 1),
        ("untrained", 0), ("untrained", 1),
    ]  # fmt: skip
    ladder = sources.ladder(train, test, rungs, range(2), **settings)
    for c, e, s in ladder:
        ours, expected = found[sources.name(c, e), s], ladder[c, e, s][0]
        assert torch.equal(ours.head.weight, expected.head.weight)
    assert not torch.equal(found["untrained", 0].head.weight, found["untrained", 1].head.weight)
    without, _ = starts.of_ladder(train, test, rungs, range(2), controls=False, **settings)
    assert list(without) == list(found)[:4]


def test_checkpoints_take_the_place_of_a_ladder(tmp_path):
    named = ("natural", "l2 3", "l2 0.5", "linf 0.0157")
    for i in range(4):
        torch.save(models.build("small_resnet", 4, seed=i).state_dict(), tmp_path / f"{i}.pt")
    text = ", ".join(f"{name}=small_resnet:{tmp_path}/{i}.pt" for i, name in enumerate(named))
    train = data.load("faces", n=20)
    found, rungs = starts.of_ladder(train, train, [], range(3), checkpoints=text, epochs=1)
    assert rungs == [("natural", 0.0), ("l2", 0.5), ("l2", 3.0), ("linf", 0.0157)]
    assert list(found) == [
        ("natural", 0), ("ℓ2 0.5", 0), ("ℓ2 3", 0), ("ℓ∞ 4/255", 0), ("untrained", 0),
    ]  # fmt: skip
    expected = models.build("small_resnet", 4, seed=2).head.weight
    assert torch.equal(found["ℓ2 0.5", 0].head.weight, expected)
    assert not any(model.training for model in found.values())


def test_heads_of_other_classes_are_refused():
    faces = data.load("faces", "test", n=20)
    networks = {
        ("natural", 0): models.build("small_resnet", 2),
        ("ℓ2 3", 0): models.build("torchvision:mobilenet_v2", 4),
    }
    starts.check_heads({("natural", 0): networks["natural", 0]}, faces)
    with pytest.raises(ValueError, match=r"network ℓ2 3 tells 4 classes apart, .* has 2; name"):
        starts.check_heads(networks, faces)
