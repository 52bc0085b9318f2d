import pytest
import torch
from torch import nn

from lib import chains


def linear():
    return nn.Linear(3, 3)


class Code(nn.Module):
    """A network of parts whose forward is given."""

    def __init__(self, run, **parts):
        super().__init__()
        self.run = run
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x, **more):
        return self.run(self, x, **more)


def found(net):
    root = chains.trace(net, net, torch.rand(2, 3))
    return [call.name for call in chains.links(root)]


def test_a_sequence_is_taken_apart():
    net = nn.Sequential(linear(), nn.Sequential(nn.ReLU(inplace=True), linear()), nn.Dropout(0.5))
    assert found(net.eval()) == ["0", "1.0", "1.1", "2"]


def test_a_residual_block_is_one_link():
    block = Code(lambda self, x: x + self.b(self.a(x)), a=linear(), b=linear())
    assert found(nn.Sequential(linear(), block, linear())) == ["0", "1", "2"]


def test_code_between_modules_ends_the_chain():
    for run in (
        lambda self, x: self.b(self.a(x) * 2),
        lambda self, x: self.b(self.a(x).mul_(2)),  # the same tensor, changed in place
        lambda self, x: self.b(self.a(x).flatten().view(2, 3)),
    ):
        assert found(Code(run, a=linear(), b=linear())) == ["b"]


def test_what_uses_earlier_outputs_is_no_link():
    skip = Code(lambda self, x, other=None: x + other, a=linear())
    net = Code(lambda self, x: self.c(self.b(self.a(x), other=x)), a=linear(), b=skip, c=linear())
    assert found(net) == ["c"]
    net = Code(lambda self, x: self.b(self.a(x)) + x, a=linear(), b=linear())
    assert found(net) == []
    two = Code(lambda self, x: (self.a(x), x)[0], a=Code(lambda s, x, y=None: x.exp(), q=linear()))
    assert found(two) == ["a"]


def test_hooks_are_gone_afterwards_and_after_an_error():
    net = Code(lambda self, x: self.a(x) @ x, a=linear())
    with pytest.raises(RuntimeError):
        chains.trace(net, net, torch.rand(2, 3))
    assert not net.a._forward_hooks and not net.a._forward_pre_hooks


def test_names_of_all_calls_in_their_order():
    net = nn.Sequential(linear(), nn.Sequential(nn.ReLU(), linear()))
    assert chains.trace(net, net, torch.rand(1, 3)).names() == ["", "0", "1", "1.0", "1.1"]
