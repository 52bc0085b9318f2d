import copy

import pytest
import torch

from lib.networks import Normalise

MEAN, STD = [0.1, 0.2, 0.3], [0.5, 1.0, 2.0]


def test_normalisation_by_hand():
    x = torch.rand(2, 3, 4, 5)
    out = Normalise(MEAN, STD)(x)
    for c in range(3):
        torch.testing.assert_close(out[:, c], (x[:, c] - MEAN[c]) / STD[c])
    assert torch.equal(Normalise(0.5, 0.25)(x), (x - 0.5) / 0.25)


def test_it_is_not_among_the_weights_but_goes_with_the_network():
    module = Normalise(0.5, 0.25)
    assert not module.state_dict() and not list(module.parameters())
    module.set(torch.tensor(MEAN)[:, None, None], STD)
    x = torch.rand(1, 3, 2, 2)
    assert torch.equal(copy.deepcopy(module)(x), Normalise(MEAN, STD)(x))
    assert module.to(torch.float64).mean.dtype == torch.float64


@pytest.mark.parametrize(
    ("mean", "std"),
    [(0.5, 0.0), (0.5, -1.0), (float("nan"), 1.0), (MEAN, [1, 1, float("inf")]), ([0, 0], [1, 1])],
)
def test_numbers_that_cannot_normalise_are_refused(mean, std):
    module = Normalise(0.5, 0.25)
    with pytest.raises(ValueError, match="allowed are 1 or 3 finite numbers"):
        module.set(mean, std)
    assert float(module.mean) == 0.5 and float(module.std) == 0.25
