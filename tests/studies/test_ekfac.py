"""EK-FAC beside the exact scores of a head: same sign, same unit, like scores."""

import copy
import warnings

import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from lib import datasets
from lib.freezing import split
from lib.influence import head_influence
from lib.studies.ekfac import tail_influence
from lib.studies.retraining import fit_to_optimum, probabilities
from lib.training import pixels
from lib.zoo.models import build

DAMPING = 0.005


@pytest.fixture(scope="module")
def problem(natural):
    """A head at its optimum on features of a network: (head, training and test inputs and y)."""
    sides = []
    for images in (datasets.load("digits", n=120), datasets.load("digits", "test", n=40)):
        with torch.no_grad():
            sides += [natural.features(pixels(images.x)), images.y]
    weights = fit_to_optimum(sides[0], sides[1], 10, weight_decay=DAMPING).float()
    head = nn.Linear(sides[0].shape[1], 10)
    head.weight.data, head.bias.data = weights[:, :-1].clone(), weights[:, -1].clone()
    return head, weights, sides


def test_ekfac_agrees_with_the_exact_scores_of_a_head(problem):
    head, weights, (x, y, x_test, y_test) = problem
    seen = [(a, probabilities(a, weights.double()), b) for a, b in ((x, y), (x_test, y_test))]
    exact = head_influence(*seen[0], *seen[1], damping=DAMPING).float().flatten()
    tail = nn.Sequential(head)
    approximate = tail_influence(tail, x, y, x_test, y_test, damping=DAMPING).flatten()
    # Over training seeds of the network 0.89 ± 0.02 and 0.64 ± 0.07.
    assert torch.corrcoef(torch.stack([exact, approximate]))[0, 1] > 0.8
    assert spearmanr(exact, approximate)[0] > 0.4
    slope = float((exact * approximate).sum() / exact.square().sum())
    assert 0.4 < slope < 2, "scores of another unit"


def test_unfrozen_blocks(natural):
    network = copy.deepcopy(natural)
    trunk, tail = split(network, 1)
    x = pixels(datasets.load("digits", n=30).x)
    with torch.no_grad():
        below = trunk(x)
    y = torch.arange(30) % 10
    before = [v.clone() for v in tail.state_dict().values()]
    state = torch.random.get_rng_state()
    arguments = (below, y, below[:8], y[:8])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = tail_influence(tail, *arguments, damping=0.01)
    assert found.shape == (8, 30) and found.isfinite().all()
    # An image helps itself most, or nearly so.
    assert (found.diagonal() > 0).all()
    assert all(map(torch.equal, tail.state_dict().values(), before))
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.testing.assert_close(tail_influence(tail, *arguments, damping=0.01), found)


def test_a_network_that_runs_whole_gives_what_its_blocks_alone_would():
    model = build("timm:test_vit", 3, image_size=32).eval()
    body = model.body
    trunk, tail = split(model, 2)
    x = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    y = torch.arange(8) % 3
    blocks = body.blocks[-2:]
    # The same blocks as a chain of their own, on what the frozen ones below give.
    seen = []
    hook = blocks[0].register_forward_hook(lambda _, given, out: seen.append(given[0]))
    with torch.no_grad():
        below = trunk(x)
        expected = tail(below)
    hook.remove()
    pool = Pooled(body)
    chain = nn.Sequential(*blocks, pool, model.head)
    torch.testing.assert_close(chain(seen[0]), expected)
    found, alone = (
        tail_influence(module, inputs, y, inputs[:3], y[:3], damping=0.01, draws=1)
        for module, inputs in ((tail, below), (chain, seen[0]))
    )
    torch.testing.assert_close(found, alone, rtol=1e-2, atol=1e-2 * float(alone.abs().max()))


class Pooled(nn.Module):
    """What timm's ViT does behind its blocks."""

    def __init__(self, body):
        super().__init__()
        self.norm, self.rest = body.norm, (body,)

    def forward(self, x):
        (body,) = self.rest
        return body.forward_head(self.norm(x), pre_logits=True)


def test_layers_of_derived_classes():
    model = build("timm:mobilenetv3_small_050", 3).eval()
    trunk, tail = split(model, 1)
    x, y = torch.rand(6, 3, 32, 32), torch.arange(6) % 3
    assert type(model.head) is not nn.Linear  # timm has one of its own
    with torch.no_grad():
        below = trunk(x)
    kind = type(model.head)
    found = tail_influence(tail, below, y, below[:2], y[:2], damping=0.01, draws=1)
    assert found.shape == (2, 6) and found.isfinite().all() and type(model.head) is kind


def test_layers_of_another_arithmetic_are_refused():
    model = build("timm:test_nfnet", 3).eval()
    trunk, tail = split(model, 1)
    x, y = torch.rand(6, 3, 32, 32), torch.arange(6) % 3
    with pytest.raises(ValueError, match="is a ScaledStdConv2d, whose influence EK-FAC does not"):
        tail_influence(tail, trunk(x), y, x, y, damping=0.01)
