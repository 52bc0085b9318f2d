"""Networks of timm, in small variants, against timm's own and against freezing by hand."""

import copy
import dataclasses
import shutil
import sys

import pytest
import timm
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from two_steps import take_steps

from lib import freezing
from lib.attacks import Linf, pgd
from lib.constraint import NATURAL
from lib.runtime import fingerprint
from lib.studies import pretrained
from lib.transfer import transfer
from lib.zoo.models import build

NETWORKS = {
    "vgg11_bn": {"mlp_ratio": 1 / 64, "image_size": 32},
    "densenet121": {"growth_rate": 4, "block_config": (2, 2), "image_size": 32},
    "mobilenetv2_050": {"image_size": 32},
    "mobilenetv3_small_050": {"image_size": 32},
    "vit_tiny_patch16_224": {
        "image_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 2,
    },
    "convnext_atto": {"depths": (1, 1, 2, 1), "dims": (4, 8, 12, 16), "image_size": 32},
    "test_efficientnet": {"image_size": 32},
    "test_resnet": {"image_size": 32},
    "eva02_tiny_patch14_224": {
        "image_size": 28, "embed_dim": 24, "depth": 3, "num_heads": 2,
    },
}  # fmt: skip
CLASSES = 5


def network(name, seed=0, **more):
    return build(f"timm:{name}", CLASSES, seed=seed, **NETWORKS[name], **more)


@pytest.fixture(scope="module", params=NETWORKS)
def drawn(request):
    """A network of each kind, with running statistics of its own; and a batch."""
    model = network(request.param)
    generator = torch.Generator().manual_seed(0)
    size = NETWORKS[request.param]["image_size"]
    x = torch.rand(8, 3, size, size, generator=generator)
    y = torch.randint(CLASSES, (8,), generator=generator)
    with torch.no_grad():
        model(x)
    return model, x, y


@pytest.fixture
def model(drawn):
    return copy.deepcopy(drawn[0])


def parameters(module):
    return {id(p) for p in module.parameters()}


def state(module):
    return {key: value.clone() for key, value in module.state_dict().items()}


def test_it_computes_what_timm_does(drawn):
    model, x, _ = drawn
    name = next(key for key in NETWORKS if model.body.pretrained_cfg["architecture"] == key)
    settings = {k: v for k, v in NETWORKS[name].items() if k != "image_size"}
    if model.body.pretrained_cfg["fixed_input_size"]:
        settings["img_size"] = NETWORKS[name]["image_size"]
    net = timm.create_model(name, num_classes=CLASSES, **settings)
    theirs, ours = net.state_dict(), model.state_dict()
    assert set(model.names) == set(theirs) and set(model.names.values()) == set(ours)
    net.load_state_dict({key: ours[model.names[key]] for key in theirs})
    mean, std = (torch.tensor(net.pretrained_cfg[key])[:, None, None] for key in ("mean", "std"))
    model.eval(), net.eval()
    with torch.no_grad():
        expected = net((x - mean) / std)
        torch.testing.assert_close(model(x), expected)
        torch.testing.assert_close(model.head(model.features(x)), expected)


def test_the_units_hold_every_weight_once_and_in_order(drawn):
    model = drawn[0]
    held = [p for block in model.blocks for p in block.parameters()]
    assert len(held) == len({id(p) for p in held}) == len(list(model.body.parameters()))
    assert {id(p) for p in held} == parameters(model.body)
    assert all(any(p.ndim > 1 for p in block.parameters()) for block in model.blocks)
    assert isinstance(model.head, nn.Linear) and model.head.out_features == CLASSES
    # Every BatchNorm is in a unit, so that it can be frozen.
    seen = {id(module) for block in model.blocks for module in block.modules()}
    assert all(id(m) in seen for m in model.modules() if isinstance(m, nn.BatchNorm2d))


def test_the_units_run_from_input_to_output(drawn):
    model, x, _ = drawn
    order, handles = [], []
    for at, block in enumerate(model.blocks):
        for module in block.modules():
            if any(True for _ in module.parameters(recurse=False)) and module is not block:
                handles.append(module.register_forward_hook(lambda *_, at=at: order.append(at)))
    with torch.no_grad():
        model.eval()(x)
    for handle in handles:
        handle.remove()
    assert order == sorted(order) and set(order) == set(range(len(model.blocks)))


@pytest.mark.parametrize("unfrozen_blocks", [0, 1, 2, 3, -1])
def test_frozen_is_bit_identical_after_a_step(drawn, model, unfrozen_blocks):
    _, x, y = drawn
    freezing.freeze(model, unfrozen_blocks).train()
    before, head = [state(block) for block in model.blocks], state(model.head)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9, weight_decay=0.1)
    for _ in range(2):
        optimiser.zero_grad()
        cross_entropy(model(x), y).backward()
        optimiser.step()
    frozen = 0 if unfrozen_blocks == -1 else len(model.blocks) - unfrozen_blocks
    for at, block in enumerate(model.blocks):
        changed = [k for k, v in block.state_dict().items() if not torch.equal(v, before[at][k])]
        if at < frozen:
            assert not changed
            assert not any(module.training for module in block.modules())
        else:
            assert len(changed) == len(before[at])
    assert not any(torch.equal(v, head[k]) for k, v in model.head.state_dict().items())


def blocks_of(model):
    return range(-1, len(model.blocks) + 1)


def test_trunk_and_tail_are_the_model(drawn, model):
    x = drawn[1]
    model.eval()
    with torch.no_grad():
        expected = model(x)
        for unfrozen_blocks in blocks_of(model):
            trunk, tail = freezing.split(model, unfrozen_blocks)
            torch.testing.assert_close(tail(trunk(x)), expected)
            assert tail[-1] is model.head
            above = [] if not unfrozen_blocks else model.blocks[-unfrozen_blocks:]
            above = model.blocks if unfrozen_blocks == -1 else above
            held = {i for block in above for i in parameters(block)} | parameters(model.head)
            assert parameters(tail) == held and not parameters(trunk) & held


@pytest.mark.parametrize("unfrozen_blocks", [1, 3])
def test_a_step_of_the_tail_is_a_step_of_the_frozen_model(drawn, model, unfrozen_blocks):
    _, x, y = drawn
    whole = freezing.freeze(copy.deepcopy(model), unfrozen_blocks).train()
    trunk, above = freezing.split(model.train(), unfrozen_blocks)
    with torch.no_grad():
        below = trunk(x)
    tail = copy.deepcopy(above).train()  # as a fine-tuning does, which leaves the source alone
    source = state(model)
    take_steps(whole, x, y, lr=0.1)
    take_steps(tail, below, y, lr=0.1)
    with torch.no_grad():
        torch.testing.assert_close(tail(below), whole(x), rtol=1e-4, atol=1e-5)
    assert all(torch.equal(value, source[key]) for key, value in model.state_dict().items())


def test_the_trunk_is_the_frozen_network_or_normalises_only(drawn):
    model = drawn[0]
    for unfrozen_blocks in blocks_of(model):
        trunk, tail = freezing.split(model, unfrozen_blocks)
        body = [model.body] if unfrozen_blocks == 0 else []
        assert list(trunk) == [model.normalise, *body]
        assert (tail[0] is model.body) == (unfrozen_blocks in (-1, len(model.blocks)))


def test_a_frozen_body_that_runs_whole_costs_no_gradients_below(drawn, model):
    _, x, y = drawn
    for unfrozen_blocks in range(1, len(model.blocks)):
        trunk, tail = freezing.split(copy.deepcopy(model), unfrozen_blocks)
        tail.train()
        cross_entropy(tail(trunk(x)), y).backward()
        body = tail[0].hidden[0]
        assert {id(p) for p in body.parameters() if p.grad is not None} == parameters(tail[0])
        frozen = [m for m in body.modules() if any(True for _ in m.parameters(recurse=False))]
        unfrozen = {id(m) for m in tail[0].unfrozen.modules()}
        assert not any(m.training for m in frozen if id(m) not in unfrozen)


def test_the_attack_finds_worse_images_within_its_ball(drawn):
    model, x, y = drawn
    model.eval()
    found = pgd(model, x, y, Linf(8 / 255), steps=3)
    assert (found - x).abs().max() <= 8 / 255 + 1e-6
    with torch.no_grad():
        assert cross_entropy(model(found), y) > cross_entropy(model(x), y)


def test_the_seed_decides_the_weights():
    one, same, other = (network("convnext_atto", seed=s) for s in (1, 1, 2))
    pairs = zip(one.parameters(), same.parameters(), other.parameters(), strict=True)
    differ = [not torch.equal(a, c) for a, b, c in pairs if torch.equal(a, b)]
    assert len(differ) == len(list(one.parameters())) and any(differ)


def test_dropout_outside_the_units_is_off_while_anything_is_frozen():
    model = network("vit_tiny_patch16_224", drop_rate=0.5)
    assert model.train().body.head_drop.training
    freezing.freeze(model, 1).train()
    assert not model.body.head_drop.training and model.blocks[-1].training
    x = torch.rand(2, 3, 32, 32)
    trunk, tail = freezing.split(model, 1)
    torch.testing.assert_close(tail.train()(trunk(x)), model(x))


@pytest.mark.parametrize(
    ("arch", "settings", "said"),
    [
        ("timm:resnet5", {}, "timm has no 'resnet5'; it has resnet50"),
        ("timm:nothing like it 123", {}, "timm has no 'nothing like it 123'$"),
        (
            "timm:test_vit",
            {"colour": 1},
            "timm does not build test_vit with {'colour': 1}: .*colour",
        ),
        ("timm:levit_128s", {}, "levit_128s does not end in one linear layer; choose another"),
    ],
)
def test_errors(arch, settings, said):
    with pytest.raises(ValueError, match=said) as caught:
        build(arch, CLASSES, **settings)
    assert "\n" not in str(caught.value)


def test_a_size_that_windows_do_not_fill_is_refused_in_one_line():
    model = build("timm:halonet26t", 2).eval()
    assert model.image_size == 256 and build("timm:test_resnet", 2).image_size is None
    with pytest.raises(ValueError, match="takes images of 256 pixels a side, and these have 64"):
        model(torch.rand(2, 3, 64, 64))


def test_without_timm(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ImportError, match="timm is not installed; for its networks, pip install"):
        build("timm:test_vit", CLASSES)
    with pytest.raises(ValueError, match=r"known are small_resnet, .*; timm is not installed; for"):
        build("test_vit", CLASSES)
    assert len(build("small_resnet", CLASSES, width=2).blocks) == 5


@pytest.mark.parametrize(("name", "unfrozen_blocks"), [("convnext_atto", 0), ("densenet121", 1)])
def test_fine_tuning_leaves_the_source_as_it_was(name, unfrozen_blocks, world):
    source = network(name).eval()
    before = state(source)
    rows = transfer(
        source, world, n=60, unfrozen_blocks=unfrozen_blocks, seeds=(0, 1), epochs=2, lr=0.02
    )
    assert len(rows) == 2 and rows.unfrozen_blocks.eq(unfrozen_blocks).all()
    assert all(torch.equal(value, before[key]) for key, value in source.state_dict().items())
    assert not any(module.training for module in source.modules())


def test_a_source_of_timm_is_trained_stored_and_found(world, tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "CACHE", tmp_path)
    train = dataclasses.replace(world[0], x=world[0].x[:64], y=world[0].y[:64])
    settings = {"arch": "timm:test_efficientnet", "epochs": 1, "device": "cpu"}
    model, record = pretrained.source(train, train, **settings)
    again, found = pretrained.source(train, train, **settings)
    assert found == record and record["parameters"]["arch"] == "timm:test_efficientnet"
    assert record["machine"][-1] == f"timm {timm.__version__}"
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in again.state_dict().items())


def test_an_edit_here_retrains_no_source_but_those_of_timm(tmp_path):
    copied = shutil.copytree(fingerprint.HERE, tmp_path / "lib")
    with (copied / "zoo" / "timm_nets.py").open("a") as edited:
        edited.write("EDITED = True\n")

    def same(arch):
        modules = pretrained._modules(arch, NATURAL)
        return fingerprint.code(*modules) == fingerprint.code(*modules, folder=copied)

    assert same("small_resnet") and same("torchvision:resnet18")
    assert not same("timm:test_efficientnet")


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("unfrozen_blocks", [0, 1, -1])
def test_a_trained_tail_is_joined_to_its_trunk(name, unfrozen_blocks):
    model = network(name).eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    trunk, tail = freezing.split(model, unfrozen_blocks)
    tail = copy.deepcopy(tail)
    with torch.no_grad():
        for value in tail.parameters():
            value.mul_(1.1)
    tail[-1] = nn.Linear(tail[-1].in_features, 3)
    joined = freezing.join(model, unfrozen_blocks, tail)
    size = NETWORKS[name]["image_size"]
    x = torch.rand(4, 3, size, size)
    with torch.no_grad():
        torch.testing.assert_close(joined(x), tail.eval()(trunk(x)))
        assert not torch.allclose(joined.features(x), model.features(x)) or not unfrozen_blocks
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
