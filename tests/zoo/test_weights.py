import collections
import copy
import pickle
import sys

import dill
import pytest
import safetensors.torch
import torch
from torch import nn

from lib.zoo.models import build
from lib.zoo.weights import load_into, read

MEAN, STD = (
    torch.tensor([0.4, 0.5, 0.6])[:, None, None],
    torch.tensor([0.1, 0.2, 0.3])[:, None, None],
)
FORMATS = [(True, 2), (True, 4), (False, 2), (False, 4)]


@pytest.fixture(scope="module")
def net():
    """A small network with running statistics of its own."""
    torch.manual_seed(0)
    net = nn.Sequential(
        collections.OrderedDict(conv=nn.Conv2d(3, 4, 3), bn=nn.BatchNorm2d(4), fc=nn.Linear(4, 5))
    )
    net.bn(torch.rand(4, 4, 5, 5))
    return net


def same(found, weights):
    assert list(found) == list(weights)
    assert all(torch.equal(found[key], value) for key, value in weights.items())


# A class of the main program: dill writes its code into the file.
PARAMETERS = """
class Parameters:
    def __init__(self, **given):
        self.given = given
        self.rule = lambda x: x + len(given)

    def __setstate__(self, state):
        raise AssertionError("it ran")
"""


@pytest.fixture(autouse=True)
def main(monkeypatch):
    """Put the class into the main program while a test runs."""
    program = sys.modules["__main__"]
    scope = {"__name__": "__main__"}
    exec(PARAMETERS, scope)
    monkeypatch.setattr(program, "Parameters", scope["Parameters"], raising=False)
    monkeypatch.setitem(dill.settings, "recurse", True)  # and not the rest of the program


def publish(path, weights, new=False, protocol=4, inner="model.", attacker=None):
    """Write a file in the published format: dill, two copies, a normaliser, and more."""
    module = collections.OrderedDict()
    module.update({"normalizer.new_mean": MEAN, "normalizer.new_std": STD})
    module.update({f"{inner}{key}": value for key, value in weights.items()})
    module.update({"attacker.normalize.new_mean": MEAN, "attacker.normalize.new_std": STD})
    module.update({f"attacker.{inner}{key}": v for key, v in (attacker or weights).items()})
    layer = nn.Linear(2, 2)
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    layer(torch.rand(1, 2)).sum().backward(), optimiser.step()
    content = {
        "model": {f"module.{key}": value for key, value in module.items()},
        "optimizer": optimiser.state_dict(),
        "schedule": {"base_lrs": [0.1], "lr_lambdas": [lambda epoch: 0.1**epoch]},
        "epoch": 90,
        "args": sys.modules["__main__"].Parameters(arch="resnet50", eps=3.0),
        "amp": None,
    }
    torch.save(
        content, path, pickle_module=dill, pickle_protocol=protocol,
        _use_new_zipfile_serialization=new,
    )  # fmt: skip
    return path


@pytest.mark.parametrize(("new", "protocol"), FORMATS)
@pytest.mark.parametrize("inner", ["model.", "model.model."])
def test_the_published_format(net, new, protocol, inner, tmp_path):
    weights = net.state_dict()
    path = publish(tmp_path / "x.ckpt", weights, new, protocol, inner)
    with pytest.raises(AssertionError, match="it ran"):  # the file is what it should be
        assert b"_create_type" in path.read_bytes()
        torch.load(path, weights_only=False, pickle_module=dill)
    normaliser = {"normalizer.new_mean": MEAN, "normalizer.new_std": STD}
    same(read(path), {**weights, **normaliser})


def test_only_the_copy_of_the_attacker(net, tmp_path):
    content = {f"module.attacker.model.{k}": v for k, v in net.state_dict().items()}
    torch.save({"state_dict": content}, tmp_path / "x")
    same(read(tmp_path / "x"), net.state_dict())


def test_two_copies_that_differ_are_refused(net, tmp_path):
    other = {**net.state_dict(), "fc.bias": torch.zeros(5)}
    path = publish(tmp_path / "x", net.state_dict(), attacker=other)
    with pytest.raises(ValueError, match=r"holds 2 networks, which differ in fc.bias; name one of"):
        read(path)
    # The same numbers, in storages of their own.
    same_numbers = {key: value.clone() for key, value in net.state_dict().items()}
    assert "fc.bias" in read(publish(tmp_path / "y", net.state_dict(), attacker=same_numbers))
    more = {**net.state_dict(), "fc2.bias": torch.zeros(5)}
    path = publish(tmp_path / "z", net.state_dict(), attacker=more)
    with pytest.raises(ValueError, match=r"holds 2 networks, which differ in fc2.bias; name one"):
        read(path)


@pytest.mark.parametrize(("new", "protocol"), FORMATS)
def test_plain_state_dicts(net, new, protocol, tmp_path):
    weights, path = net.state_dict(), tmp_path / "x.pt"
    for content in (
        weights,  # an OrderedDict with attributes
        dict(weights),
        {f"module.{key}": value for key, value in weights.items()},
        {"state_dict": weights, "epoch": 3},
        {"model": weights, "state_dict": weights},
        {"net": {f"module.{key}": value for key, value in weights.items()}, "acc": 0.5},
        {"_orig_mod.module." + key: value for key, value in weights.items()},
    ):
        torch.save(
            content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=new
        )  # fmt: skip
        same(read(path), weights)


def test_safetensors(net, tmp_path):
    weights = dict(sorted(net.state_dict().items()))
    safetensors.torch.save_file(weights, tmp_path / "x.safetensors")
    found = read(tmp_path / "x.safetensors")
    same(dict(sorted(found.items())), weights)
    prefixed = {f"module.{key}": value for key, value in weights.items()}
    safetensors.torch.save_file(prefixed, tmp_path / "no name tells")
    same(dict(sorted(read(tmp_path / "no name tells").items())), weights)


def test_several_entries_that_differ(net, tmp_path):
    weights = net.state_dict()
    other = {**weights, "fc.bias": torch.zeros(5)}
    torch.save({"model": weights, "state_dict": other, "epoch": 1}, tmp_path / "x")
    with pytest.raises(ValueError, match=r"differ in fc.bias; .*: PATH#model, PATH#state_dict$"):
        read(tmp_path / "x")
    torch.save({"net": weights, "weights": weights | {"more": torch.ones(1)}}, tmp_path / "y")
    with pytest.raises(ValueError, match=r"differ in more; .*: PATH#net, PATH#weights$"):
        read(tmp_path / "y")


def test_files_without_weights(net, tmp_path):
    for content, said in [
        ({"epoch": 3}, "holds no weights by name; it has 'epoch'; save the state_dict"),
        ({}, "holds no weights by name; save the state_dict"),
        ([1, 2], "holds no weights by name; save the state_dict"),
        (torch.rand(3), "holds no weights by name"),
        (net, "holds no weights by name"),
        ({"model": net}, "holds no weights by name; it has 'model'; save"),
    ]:
        torch.save(content, tmp_path / "x")
        with pytest.raises(ValueError, match=said) as caught:
            read(tmp_path / "x")
        assert str(caught.value).startswith(str(tmp_path / "x"))


def test_files_that_are_no_checkpoints(tmp_path):
    path = tmp_path / "x"
    with pytest.raises(FileNotFoundError, match="x is not there"):
        read(path)
    with pytest.raises(FileNotFoundError, match="is not there, or no file"):
        read(tmp_path)
    for content, said in [
        (b"", "x is empty; download it again"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "is a pointer of Git LFS"),
        (b"\n<!DOCTYPE html>\n<html>", "x is a web page"),
        (b"hello\nworld\n", "x is damaged, or no checkpoint: "),
        (b"\x00" * 100, "x is damaged, or no checkpoint: "),
        (b"12345678{not json", "x is damaged, or no checkpoint: "),
        (b"PK\x03\x04rest", "x is damaged, or no checkpoint: "),
        (pickle.dumps({"a": 1}), "x is damaged, or no checkpoint: "),
    ]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=said) as caught:
            read(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_a_file_cut_short_anywhere_is_refused(net, kind, tmp_path):
    path, cut = tmp_path / "whole", tmp_path / "cut"
    if kind == "safetensors":
        safetensors.torch.save_file(net.state_dict(), path)
    else:
        torch.save(net.state_dict(), path, _use_new_zipfile_serialization=kind == "zip")
    content = path.read_bytes()
    for length in range(1, len(content), len(content) // 60):
        cut.write_bytes(content[:length])
        with pytest.raises(ValueError, match="cut is damaged, or no "):
            read(cut)


def saved_as(names, model):
    """The weights of a network under other names."""
    weights = model.state_dict()
    return {name: weights[key] for name, key in names.items()} if names else dict(weights)


ARCHITECTURES = {
    "small_resnet": {"width": 2},
    "torchvision:resnet18": {},
    "timm:test_vit": {"image_size": 32},
}


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_weight_is_set(arch, tmp_path):
    source, model, third = (build(arch, 5, seed=s, **ARCHITECTURES[arch]) for s in (0, 1, 2))
    for buffer in source.buffers():
        buffer.add_(1)
    for names in (source.names, {}):  # as the library names them, and as we do
        torch.save(saved_as(names, source), tmp_path / "x")
        target = model if names else third
        assert load_into(target, tmp_path / "x") is target
        same(target.state_dict(), source.state_dict())


def test_a_published_file_into_a_network(tmp_path):
    source, model = (build("torchvision:resnet18", 5, seed=s).eval() for s in (0, 1))
    path = publish(tmp_path / "x", saved_as(source.names, source))
    load_into(model, path)
    x = torch.rand(2, 3, 64, 64)
    source.normalise.set(MEAN, STD)
    torch.testing.assert_close(model(x), source(x))
    torch.testing.assert_close(model.normalise(x), (x - MEAN) / STD)


def refused(model, path, said):
    """Loading fails with one line, and changes nothing."""
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=said) as caught:
        load_into(model, path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)
    same(model.state_dict(), before)


def test_a_file_that_does_not_fit_changes_nothing(tmp_path):
    model, path = build("torchvision:resnet18", 5, seed=1), tmp_path / "x"
    weights = saved_as(model.names, build("torchvision:resnet18", 5, seed=0))
    for change, said in [
        ({"layer2.0.conv1.weight": None}, r"it lacks layer2.0.conv1.weight \(in all 1 missing, 0"),
        ({"bn1.running_var": None}, "it lacks bn1.running_var"),
        ({"layer5.weight": torch.ones(1)}, "has layer5.weight, which the network lacks"),
        ({"bn1.weight": torch.ones(3)}, r"bn1.weight has shape \(3,\), not \(64,\)"),
        ({"bn1.weight": torch.ones(64, dtype=torch.int64)}, "bn1.weight is torch.int64, not"),
        ({"fc.weight": torch.ones(9, 512), "fc.bias": torch.ones(9)}, "has 9 classes and the .* 5"),
        ({"fc.weight": torch.ones(5, 256)}, r"fc.weight has shape \(5, 256\), not \(5, 512\)"),
        (
            {"normalizer.new_mean": MEAN},
            "has only one of mean and standard deviation of a normaliser",
        ),
    ]:
        changed = {k: v for k, v in {**weights, **change}.items() if v is not None}
        torch.save(changed, path)
        refused(model, path, said)


def test_another_architecture(tmp_path):
    path = tmp_path / "x"
    large = build("torchvision:resnet18", 5)
    torch.save(build("small_resnet", 5, width=2).state_dict(), path)
    refused(large, path, r"lacks blocks.3.downsample.0.weight \(in all 55 missing, 12 unknown\)")
    torch.save(saved_as(large.names, large), path)
    refused(build("small_resnet", 5, width=2), path, "lacks blocks.0.0.weight")
    refused(build("resnet50", 5), path, "lacks layer1.0.conv3.weight")


def test_counters_that_old_files_lack_are_zero(tmp_path):
    model = build("small_resnet", 5, width=2)
    model(torch.rand(2, 3, 8, 8))
    weights = {k: v for k, v in model.state_dict().items() if not k.endswith("tracked")}
    torch.save(weights, tmp_path / "x")
    load_into(model, tmp_path / "x")
    counters = [v for k, v in model.state_dict().items() if k.endswith("tracked")]
    assert counters and not any(counters)


def test_what_the_architecture_decides_may_stand_in_the_file(tmp_path):
    model, path = build("timm:test_coatnet", 5, seed=0), tmp_path / "x"
    weights = saved_as(model.names, model)
    constants = {n.removeprefix("body."): b for n, b in model.body.named_buffers()}
    constants = {n: b for n, b in constants.items() if n not in weights}
    assert any(n.endswith("relative_position_index") for n in constants)
    torch.save(weights | constants, path)
    other = load_into(build("timm:test_coatnet", 5, seed=1), path)
    same(other.state_dict(), model.state_dict())
    torch.save(weights | {n: b[:1] for n, b in constants.items()}, path)
    refused(other, path, "relative_position_index, which the network lacks")
