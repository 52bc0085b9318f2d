import hashlib
import sys
import types

import pytest
import safetensors.torch
import torch

from lib.constraint import NATURAL, Constraint
from lib.zoo import published
from lib.zoo.models import build
from lib.zoo.names import locate

NAMES = published.published()


def test_what_is_published():
    # The counts of the hub's tables: 4 × 10 and 6 × 2 of ℓ2, 3 × 5 of ℓ∞.
    assert len(NAMES) == 4 * 10 + 6 * 2 + 3 * 5
    assert NAMES["resnet50_l2_eps3"] == ("torchvision:resnet50", Constraint("l2", 3.0))
    assert NAMES["resnet18_l2_eps0"] == ("torchvision:resnet18", NATURAL)
    weakest = Constraint("linf", 0.5 / 255)
    assert NAMES["wide_resnet50_2_linf_eps0.5"] == ("torchvision:wide_resnet50_2", weakest)
    assert NAMES["resnet50_linf_eps4.0"][1] == Constraint("linf", 4 / 255)
    assert NAMES["densenet_l2_eps3"][0] == "torchvision:densenet161"
    assert NAMES["vgg16_bn_l2_eps3"][0] == "torchvision:vgg16_bn"
    assert "wide_resnet50_4_linf_eps4.0" not in NAMES and "densenet_l2_eps1" not in NAMES
    assert {locate(arch)[0] for arch, _ in NAMES.values()} == {"torchvision"}


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
    weights, x = model.state_dict(), torch.rand(2, 3, 32, 32)
    assert all(torch.equal(weights[key], value) for key, value in expected.state_dict().items())
    torch.testing.assert_close(model(x), expected(x))
    return not model.training


def test_a_published_file_that_lies_here(folder):
    path = folder / "resnet18_linf_eps8.0.ckpt"
    expected = save(path)
    model, constraint, record = published.network("resnet18_linf_eps8.0")
    assert same(model, expected) and len(model.blocks) == 9
    assert constraint == Constraint("linf", 8 / 255)
    assert record == {
        "arch": "torchvision:resnet18",
        "file": path.name,
        "entry": "",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "mean": pytest.approx([0.485, 0.456, 0.406]),
        "std": pytest.approx([0.229, 0.224, 0.225]),
        "normalisation": "in the file",
    }


@pytest.mark.parametrize("arch", ["torchvision:resnet18"])
def test_a_file_of_ones_own(arch, tmp_path):
    expected = save(tmp_path / "mine:1.pt", classes=7)
    model, constraint, record = published.network(f"{arch}:{tmp_path / 'mine:1.pt'}")
    assert same(model, expected) and model.head.out_features == 7
    assert constraint is None and record["arch"] == arch


def test_a_file_of_a_small_network(tmp_path):
    expected = build("small_resnet", 4, seed=5).eval()
    torch.save(expected.state_dict(), tmp_path / "x")
    model, _, record = published.network(f"small_resnet:{tmp_path / 'x'}")
    assert same(model, expected) and record["arch"] == "small_resnet"


def test_a_name_that_says_what_it_is_wherever_the_file_lies(tmp_path):
    path = tmp_path / "resnet18_l2_eps3.ckpt"
    save(path)
    _, constraint, _ = published.network(f"torchvision:resnet18:{path}")
    assert constraint == Constraint("l2", 3.0)


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
    with pytest.raises(ValueError, match="x does not fit the network: it lacks blocks"):
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
    model, constraint, _ = published.network("resnet18_l2_eps3")
    assert asked == [("madrylab/robust-imagenet-models", "resnet18_l2_eps3.ckpt")]
    assert same(model, expected) and constraint == Constraint("l2", 3.0)
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


def test_the_real_client_takes_what_it_is_given(folder, monkeypatch):
    import huggingface_hub

    # Its cache is asked first; offline it must end in one line, whatever it raises.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
    with pytest.raises(OSError, match="resnet50_l2_eps3 cannot be downloaded") as caught:
        published.download("resnet50_l2_eps3")
    assert "\n" not in str(caught.value)


def test_networks_with_their_constraints(folder, tmp_path):
    save(folder / "resnet18_linf_eps4.0.ckpt")
    (tmp_path / "eps=3").mkdir()
    mine = save(tmp_path / "eps=3" / "mine.pt")
    source = f"torchvision:resnet18:{tmp_path}/eps=3/mine.pt"
    names = ["resnet18_linf_eps4.0", f"natural={source}", f"l2 3 = {source}"]
    networks = published.constrained([*names, "l2 3=resnet18_linf_eps4.0"])
    four, three = Constraint("linf", 4 / 255), Constraint("l2", 3.0)
    assert [constraint for constraint, _, _ in networks] == [four, NATURAL, three, three]
    assert [record["file"] for _, _, record in networks][:2] == [f"{names[0]}.ckpt", "mine.pt"]
    assert same(networks[2][1], mine)
    for name in names:
        published.check(name)
    with pytest.raises(
        ValueError, match="is not known; write it before, as in natural=torchvision:r"
    ):
        published.constrained([source])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("l1 3=resnet50_l2_eps3", "constraint is 'l1 3'; allowed are natural, l2 EPS, linf"),
        ("natural=resnet18:nowhere.pt", "there is no file nowhere.pt"),
        ("resnet18:a=b/nowhere.pt", "there is no file a=b/nowhere.pt"),
        ("resnet50_l2_eps2", "source is 'resnet50_l2_eps2'; allowed are ARCH:PATH and"),
        ("nothing:x.pt", "arch is 'nothing'; known are"),
    ],
)
def test_names_that_are_refused(name, said):
    with pytest.raises(ValueError, match=said) as caught:
        published.check(name)
    assert "\n" not in str(caught.value)


def write(path, arch, classes=4, seed=5, **settings):
    """A file of a network's weights, named as its library names them; returns the network."""
    model = build(arch, classes, seed=seed, **settings).eval()
    weights = model.state_dict()
    torch.save({name: weights[key] for name, key in model.names.items()} or weights, path)
    return model


def test_the_head_is_found_by_its_name(tmp_path):
    path = tmp_path / "x.safetensors"
    model = build("timm:test_convnext", 4, seed=5).eval()
    ours = model.state_dict()
    weights = {name: ours[key].contiguous() for name, key in model.names.items()}
    safetensors.torch.save_file(dict(sorted(weights.items())), path)
    matrices = [name for name, value in sorted(weights.items()) if value.ndim == 2]
    assert matrices[-1] != "head.fc.weight"  # the last matrix of the file is none of the head
    found, _, _ = published.network(f"timm:test_convnext@half:{path}")
    x = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(found(x), model(x))


def test_an_entry_is_chosen_wherever_a_path_is_taken(tmp_path):
    path = tmp_path / "run=1, seed=2.pt"
    one, two = (build("small_resnet", 4, seed=seed).eval() for seed in (1, 2))
    torch.save({"state_dict": one.state_dict(), "state_dict_ema": two.state_dict()}, path)
    source = f"small_resnet:{path}"
    with pytest.raises(ValueError, match=r"PATH#state_dict, PATH#state_dict_ema$"):
        published.network(source)
    names = f"natural={source}#state_dict, l2 3={source}#state_dict_ema"
    assert published.listed(names) == [
        f"natural={source}#state_dict",
        f"l2 3={source}#state_dict_ema",
    ]
    networks = published.constrained(published.listed(names))
    assert all(same(*pair) for pair in zip([m for _, m, _ in networks], [one, two], strict=True))
    assert [record["entry"] for _, _, record in networks] == ["state_dict", "state_dict_ema"]
    published.check(f"natural={source}#state_dict")
    published.check_file(f"{source}#state_dict")
    with pytest.raises(ValueError, match=r"there is no file .*other.pt "):
        published.check_file(f"small_resnet:{tmp_path}/other.pt#state_dict")


def test_commas_and_signs_in_paths(tmp_path):
    paths = [tmp_path / name for name in ("a,b.pt", "epoch=9-step=1000.ckpt", "c, d,e=f:g.pt")]
    for path in paths:
        write(path, "small_resnet")
    names = [f"small_resnet:{path}" for path in paths]
    names = [names[0], f"l2 3={names[1]}", f"natural={names[2]}", "resnet18_l2_eps3"]
    assert published.listed(", ".join(names)) == names
    assert published.listed(" a ,, b,") == ["a", "b"] and published.listed("") == []
    for name in names[:3]:
        published.check(name)
    found = published.constrained(names[1:3])
    assert [constraint for constraint, _, _ in found] == [Constraint("l2", 3.0), NATURAL]


@pytest.mark.parametrize(
    ("arch", "meant"),
    [
        ("resnet18", "torchvision:resnet18"),
        ("torchvision:resnet18", "resnet18"),
    ],
)
def test_the_other_network_of_a_name_is_named(arch, meant, tmp_path):
    write(tmp_path / "x", meant)
    with pytest.raises(ValueError, match=f"; did you mean {meant}:{tmp_path / 'x'}\\?$") as caught:
        published.network(f"{arch}:{tmp_path / 'x'}")
    assert "\n" not in str(caught.value)


def test_no_other_network_is_named_that_does_not_fit(tmp_path):
    write(tmp_path / "x", "timm:test_resnet")
    with pytest.raises(ValueError, match=r"build the architecture it was saved from$"):
        published.network(f"small_resnet:{tmp_path / 'x'}")


def test_a_vit_has_a_size(tmp_path):
    path = tmp_path / "x"
    model = write(path, "timm:test_vit", image_size=96)
    with pytest.raises(ValueError, match=f"did you mean timm:test_vit@96:{path}\\?$"):
        published.network(f"timm:test_vit:{path}")
    found, _, record = published.network(f"timm:test_vit@96@half:{path}")
    assert found.image_size == 96 and record["arch"] == "timm:test_vit@96@half"
    x = torch.rand(2, 3, 96, 96)
    torch.testing.assert_close(found(x), model(x))
    with pytest.raises(
        ValueError, match="takes images of 96 pixels a side, and these have 32; set"
    ):
        found(torch.rand(1, 3, 32, 32))
    names = [f"natural=timm:test_vit@96@half:{path}"]
    assert len(published.constrained(names, image_size=96)) == 1
    with pytest.raises(ValueError, match="takes images of 96 pixels a side only, not 32; set imag"):
        published.constrained(names, image_size=32)
    assert build("timm:test_resnet", 2).image_size is None


def test_the_normalisation_is_stated_or_assumed_and_recorded(tmp_path):
    path = tmp_path / "x"
    write(path, "timm:test_vit")
    with pytest.warns(UserWarning, match=r"assumed is timm's mean 0.5 and deviation 0.5; to state"):
        _, _, record = published.network(f"timm:test_vit:{path}")
    assert (record["normalisation"], record["mean"]) == ("assumed", [0.5] * 3)
    found, _, record = published.network(f"timm:test_vit@imagenet:{path}")
    assert record["normalisation"] == "stated"
    assert record["mean"] == pytest.approx([0.485, 0.456, 0.406])
    assert record["std"] == pytest.approx([0.229, 0.224, 0.225])
    x = torch.rand(1, 3, 1, 1)
    expected = (x.flatten() - torch.tensor(record["mean"])) / torch.tensor(record["std"])
    torch.testing.assert_close(found.normalise(x).flatten(), expected)
    _, _, record = published.network(f"timm:test_vit@0.1 0.2 0.3/0.5:{path}")
    assert record["mean"] == pytest.approx([0.1, 0.2, 0.3]) and record["std"] == [0.5]
    save(tmp_path / "y")
    arch = "torchvision:resnet18"
    _, _, record = published.network(f"{arch}@imagenet:{tmp_path / 'y'}")
    assert record["normalisation"] == "in the file"
    with pytest.raises(ValueError, match=r"y normalises by mean .* itself; leave it out of torch"):
        published.network(f"{arch}@half:{tmp_path / 'y'}")
    write(path, "timm:test_resnet.r160_in1k")  # the tag says what it expects
    assert published.network(f"timm:test_resnet.r160_in1k:{path}")[2]["normalisation"] == "assumed"
    write(path, "small_resnet")
    assert published.network(f"small_resnet@none:{path}")[2]["mean"] == [0.0]


@pytest.mark.parametrize("stated", ["", "x", "0", "12345", "0.5", "1 2/3", "0.5/0", "nan/1", "2/1"])
def test_statements_that_say_nothing(stated):
    with pytest.raises(ValueError, match="allowed ") as caught:
        build(f"small_resnet@{stated}", 3)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="small_resnet@32 has no setting image_size"):
        build("small_resnet@32", 3)
