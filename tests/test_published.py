import hashlib
import sys
import types

import pytest
import torch

from lib import published
from lib.models import build, locate

NAMES = published.published()


def test_what_is_published():
    # The counts of the hub's tables: 4 × 10 and 6 × 2 of ℓ2, 3 × 5 of ℓ∞.
    assert len(NAMES) == 4 * 10 + 6 * 2 + 3 * 5
    assert NAMES["resnet50_l2_eps3"] == ("torchvision:resnet50", "l2", 3.0)
    assert NAMES["resnet18_l2_eps0"] == ("torchvision:resnet18", "natural", 0.0)
    assert NAMES["wide_resnet50_2_linf_eps0.5"] == (
        "torchvision:wide_resnet50_2",
        "linf",
        0.5 / 255,
    )
    assert NAMES["resnet50_linf_eps4.0"][1:] == ("linf", 4 / 255)
    assert NAMES["vgg16_bn_l2_eps3"][0] == "torchvision:vgg16_bn"
    assert "wide_resnet50_4_linf_eps4.0" not in NAMES and "densenet_l2_eps1" not in NAMES
    assert {locate(arch)[0] for arch, _, _ in NAMES.values()} == {"torchvision"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(published, "FOLDER", tmp_path / "checkpoints")
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


def save(path, classes=5):
    """A file of a ResNet-18 in the published layout; returns the network in it."""
    model = build("torchvision:resnet18", classes, seed=3).eval()
    weights = model.state_dict()
    module = {f"module.model.{name}": weights[key] for name, key in model.names.items()}
    module["module.normalizer.new_mean"] = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    module["module.normalizer.new_std"] = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    torch.save({"model": module, "epoch": 1}, path)
    return model


def same(model, expected):
    x = torch.rand(2, 3, 32, 32)
    return not model.training and torch.equal(model(x), expected(x))


def test_a_published_file_that_lies_here(folder):
    path = folder / "resnet18_linf_eps8.0.ckpt"
    expected = save(path)
    model, record = published.network("resnet18_linf_eps8.0")
    assert same(model, expected) and len(model.blocks) == 9
    assert record == {
        "arch": "torchvision:resnet18",
        "constraint": "linf",
        "eps": 8 / 255,
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


@pytest.mark.parametrize("arch", ["torchvision:resnet18"])
def test_a_file_of_ones_own(arch, tmp_path):
    expected = save(tmp_path / "mine:1.pt", classes=7)
    model, record = published.network(f"{arch}:{tmp_path / 'mine:1.pt'}")
    assert same(model, expected) and model.head.out_features == 7
    assert (record["constraint"], record["eps"], record["arch"]) == (None, None, arch)


def test_a_file_of_a_small_network(tmp_path):
    expected = build("small_resnet", 4, seed=5).eval()
    torch.save(expected.state_dict(), tmp_path / "x")
    model, record = published.network(f"small_resnet:{tmp_path / 'x'}")
    assert same(model, expected) and record["arch"] == "small_resnet"


def test_a_name_that_says_what_it_is_wherever_the_file_lies(tmp_path):
    path = tmp_path / "resnet18_l2_eps3.ckpt"
    save(path)
    assert published.network(f"torchvision:resnet18:{path}")[1]["constraint"] == "l2"


@pytest.mark.parametrize(
    ("source", "error", "said"),
    [
        ("resnet50_l2_eps2", ValueError, "allowed are ARCH:PATH and the published models"),
        ("torchvision:resnet18", ValueError, "source is 'torchvision:resnet18'; allowed are ARCH"),
        ("timm:test_vit", ValueError, "source is 'timm:test_vit'; allowed are ARCH:PATH"),
        ("nothing:x.pt", ValueError, "arch is 'nothing'; known are"),
        ("small_resnet:/not/there", FileNotFoundError, "/not/there is not there"),
    ],
)
def test_errors(source, error, said):
    with pytest.raises(error, match=said) as caught:
        published.network(source)
    assert "\n" not in str(caught.value)


def test_weights_without_a_head(tmp_path):
    torch.save({"a": torch.rand(3)}, tmp_path / "x")
    with pytest.raises(ValueError, match="x has no weights of a linear layer"):
        published.network(f"small_resnet:{tmp_path / 'x'}")


def hub(monkeypatch, download):
    """Put a hub of our own in the place of the real one."""
    monkeypatch.setitem(
        sys.modules, "huggingface_hub", types.SimpleNamespace(hf_hub_download=download)
    )


def test_a_download_is_checked_against_the_hubs_sha256(folder, tmp_path, monkeypatch):
    asked = []
    blob, link = tmp_path / "blob", tmp_path / "resnet18_l2_eps3.ckpt"
    expected = save(blob)
    named = blob.rename(tmp_path / hashlib.sha256(blob.read_bytes()).hexdigest())
    link.symlink_to(named)
    hub(monkeypatch, lambda repository, name: asked.append((repository, name)) or str(link))
    model, record = published.network("resnet18_l2_eps3")
    assert asked == [("madrylab/robust-imagenet-models", "resnet18_l2_eps3.ckpt")]
    assert same(model, expected) and (record["constraint"], record["eps"]) == ("l2", 3.0)
    named.write_bytes(named.read_bytes()[:-1])
    with pytest.raises(ValueError, match="is damaged: its sha256 is not"):
        published.download("resnet18_l2_eps3")


def test_without_a_network(folder, monkeypatch):
    def refuse(repository, name):
        raise RuntimeError("no route\nto host")

    hub(monkeypatch, refuse)
    with pytest.raises(
        OSError, match=r"cannot be downloaded \(no route\); put resnet50_l2_eps3"
    ) as e:
        published.download("resnet50_l2_eps3")
    assert str(folder) in str(e.value) and "\n" not in str(e.value)
    with pytest.raises(ValueError, match="'resnet50_l2_eps2' is not published"):
        published.download("resnet50_l2_eps2")


def test_without_the_hubs_client(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match="pip install huggingface_hub, or put resnet50_l2_eps3"):
        published.download("resnet50_l2_eps3")


def test_the_real_client_takes_what_it_is_given(folder, monkeypatch):
    import huggingface_hub

    # Its cache is asked first; offline it must end in one line, whatever it raises.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
    with pytest.raises(OSError, match="resnet50_l2_eps3 cannot be downloaded") as caught:
        published.download("resnet50_l2_eps3")
    assert "\n" not in str(caught.value)


def test_a_ladder_of_files(folder, tmp_path):
    for name in ("resnet18_linf_eps4.0", "resnet18_l2_eps0", "resnet18_l2_eps3"):
        save(folder / f"{name}.ckpt")
    mine = save(tmp_path / "mine.pt")
    names = ["resnet18_linf_eps4.0", "resnet18_l2_eps0", "resnet18_l2_eps3"]
    found = published.ladder(names)
    assert list(found) == [("natural", 0.0, 0), ("l2", 3.0, 0), ("linf", 4 / 255, 0)]
    names += [f"{told}=torchvision:resnet18:{tmp_path}/mine.pt" for told in ("natural", "l2 3")]
    names += [f"linf {4 / 255!r} = torchvision:resnet18:{tmp_path}/mine.pt"]
    found = published.ladder(names)
    assert list(found) == [(*rung, s) for rung in published_rungs() for s in (0, 1)]
    model, record = found["l2", 3.0, 1]
    assert same(model, mine) and (record["constraint"], record["eps"]) == ("l2", 3.0)
    published.known_ladder("checkpoints", ", ".join(names))
    published.known_ladder("checkpoints", "")


def published_rungs():
    return [("natural", 0.0), ("l2", 3.0), ("linf", 4 / 255)]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["natural={0}"], "the checkpoints are 1 natural 0; allowed are as many natural ones"),
        (["l2 3={0}", "l2 1={0}"], "the checkpoints are 1 l2 3, 1 l2 1; allowed are as many"),
        (["natural={0}", "l2 3={0}", "l2 3={0}"], "1 natural 0, 2 l2 3; allowed are as many"),
        (["natural={0}", "{0}"], "is not known; write natural=torchvision:resnet18:"),
    ],
)
def test_a_ladder_that_cannot_be_compared(tmp_path, names, said):
    save(tmp_path / "x.pt")
    given = [name.format(f"torchvision:resnet18:{tmp_path}/x.pt") for name in names]
    with pytest.raises(ValueError, match=said) as caught:
        published.ladder(given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (3, "3 is no text"),
        ("l1 3=resnet50_l2_eps3", "constraint is 'l1 3'; allowed are natural, l2 EPS and linf"),
        ("natural=resnet18:nowhere.pt", "there is no file nowhere.pt"),
        ("resnet50_l2_eps2", "source is 'resnet50_l2_eps2'; allowed are ARCH:PATH and"),
    ],
)
def test_names_of_a_ladder_that_are_refused(value, said):
    with pytest.raises(ValueError, match=said):
        published.known_ladder("checkpoints", value)


def test_a_constraint_is_read_back():
    rungs = [("natural", 0.0), ("l2", 0.1), ("l2", 0.5), ("linf", 0.0157)]
    names = ("natural", "l2 0.1", "l2 0.5", "linf 0.0157")
    assert [published.rung(name) for name in names] == rungs
    for other in ("untrained", "l2", "l2 0", "l2 -1", "l1 0.5", "l2 1.2.3", "natural 1", "l2 x"):
        assert published.rung(other) is None
    assert published.rung("linf 1e-3") == ("linf", 0.001)
