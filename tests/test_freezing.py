import copy

import pytest
import torch

from lib.freezing import freeze, join, split
from lib.zoo import models

BLOCKS = 5
frozen_of = {0: 5, 1: 4, 2: 3, 5: 0, -1: 0}


@pytest.fixture
def model():
    return models.build("small_resnet", 10, seed=0, width=4)


@pytest.fixture(scope="module")
def batch(world):
    return world[0].x[:16].float() / 255, world[0].y[:16]


def state(module):
    return {k: v.clone() for k, v in module.state_dict().items()}


@pytest.mark.parametrize("mode_first", [False, True])
@pytest.mark.parametrize("unfrozen_blocks", frozen_of)
def test_frozen_is_bit_identical_after_a_step(model, batch, unfrozen_blocks, mode_first):
    if mode_first:
        freeze(model.train(), unfrozen_blocks)
    else:
        freeze(model.eval(), unfrozen_blocks).train()
    before = [state(block) for block in model.blocks]
    head = state(model.head)
    # Over all parameters, with momentum and decay: freezing must not hang on the optimiser.
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    for _ in range(2):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(batch[0]), batch[1]).backward()
        optimiser.step()
    frozen = frozen_of[unfrozen_blocks]
    for index, block in enumerate(model.blocks):
        for key, value in block.state_dict().items():
            same = torch.equal(value, before[index][key])
            assert same == (index < frozen), (index, key)
    assert not any(torch.equal(v, head[k]) for k, v in model.head.state_dict().items())


def test_freezing_again_replaces_the_first(model):
    freeze(model, 0)
    freeze(model, 2)
    trainable = [all(p.requires_grad for p in block.parameters()) for block in model.blocks]
    assert trainable == [False] * 3 + [True] * 2
    assert [block.training for block in model.blocks] == trainable
    freeze(model, -1)
    assert all(p.requires_grad for p in model.parameters())
    assert all(m.training for m in model.modules())
    freeze(model.eval(), 1)
    assert not any(m.training for m in model.modules())


@pytest.mark.parametrize("unfrozen_blocks", [*range(-1, BLOCKS + 1)])
def test_trunk_and_tail_are_the_model(model, batch, unfrozen_blocks):
    with torch.no_grad():
        model(batch[0])  # in training mode: running means that are not the initial ones
    model.eval()
    trunk, tail = split(model, unfrozen_blocks)
    torch.testing.assert_close(tail(trunk(batch[0])), model(batch[0]))
    # What freeze leaves trainable is the tail's, and the rest the trunk's.
    freeze(model, unfrozen_blocks)
    assert all(p.requires_grad for p in tail.parameters())
    assert not any(p.requires_grad for p in trunk.parameters())
    assert {id(p) for m in (trunk, tail) for p in m.parameters()} == {
        id(p) for p in model.parameters()
    }
    assert tail[-1] is model.head


@pytest.mark.parametrize("unfrozen_blocks", [0, 2, -1])
def test_the_trunk_is_in_eval_mode_and_nothing_is_changed(model, unfrozen_blocks):
    before, twin = state(model), copy.deepcopy(model)
    trunk, tail = split(model.train(), unfrozen_blocks)
    assert not any(m.training for m in trunk.modules())
    assert all(m.training for m in tail.modules())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.requires_grad for p in model.parameters())
    assert [k for k, _ in model.named_parameters()] == [k for k, _ in twin.named_parameters()]


@pytest.mark.parametrize("unfrozen_blocks", [0, 1, 3, 5, -1])
def test_joined_again_they_are_a_network_with_the_new_tail(model, batch, unfrozen_blocks):
    before = state(model)
    trunk, tail = split(model, unfrozen_blocks)
    tail = copy.deepcopy(tail)
    with torch.no_grad():
        for value in tail.parameters():
            value.add_(0.05)
    tail[-1] = torch.nn.Linear(tail[-1].in_features, 3)
    joined = join(model.train(), unfrozen_blocks, tail)
    assert not any(m.training for m in joined.modules()) and len(joined.blocks) == BLOCKS
    x = batch[0]
    assert joined(x).shape == (16, 3)
    torch.testing.assert_close(joined(x), tail.eval()(trunk.eval()(x)))
    # It can be stored and read as any other network, and lives by itself.
    twin = models.build("small_resnet", 3, seed=1, width=4)
    twin.load_state_dict(joined.state_dict())
    torch.testing.assert_close(twin.eval()(x), joined(x))
    theirs = {p.data_ptr() for m in (model, tail) for p in m.parameters()}
    assert not theirs & {p.data_ptr() for p in joined.parameters()}
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize("unfrozen_blocks", [-2, 6, 2.5, None, "1"])
def test_other_numbers_of_blocks_are_refused(model, unfrozen_blocks):
    before = [p.requires_grad for p in model.parameters()]
    for function in (freeze, split, lambda m, k: join(m, k, torch.nn.Sequential(m.head))):
        with pytest.raises(ValueError, match=f"unfrozen_blocks is {unfrozen_blocks}; .* to 5"):
            function(model, unfrozen_blocks)
    assert [p.requires_grad for p in model.parameters()] == before
