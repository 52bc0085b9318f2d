"""Points of the balls: drawn uniformly, projected to the nearest; radii that make no sense."""

import pytest
import torch
from scipy.stats import kstest

from lib.balls import L2, Linf


@pytest.mark.parametrize("d", [1, 2, 3, 8])
def test_random_starts_are_uniform_in_the_l2_ball(d):
    x = torch.zeros(20_000, 1, 1, d)
    delta = L2(0.7).random_start(x, torch.Generator().manual_seed(0)).flatten(1).double()
    radius = delta.norm(dim=1) / 0.7
    assert kstest(radius**d, "uniform").pvalue > 0.01
    # No direction is preferred: along each axis the point's sign, and its place on the sphere.
    assert abs(float((delta[:, 0] > 0).double().mean()) - 0.5) < 0.015
    if d == 2:
        angle = torch.atan2(delta[:, 1], delta[:, 0]) / (2 * torch.pi) + 0.5
        assert kstest(angle, "uniform").pvalue > 0.01
    if d == 3:  # Archimedes: each coordinate of a point of the sphere is uniform
        for axis in range(3):
            height = delta[:, axis] / delta.norm(dim=1)
            assert kstest((height + 1) / 2, "uniform").pvalue > 0.01


def test_random_starts_are_uniform_in_the_linf_ball():
    x = torch.zeros(20_000, 1, 1, 2)
    delta = Linf(0.3).random_start(x, torch.Generator().manual_seed(0)).flatten(1)
    for axis in range(2):
        assert kstest((delta[:, axis] / 0.3 + 1) / 2, "uniform").pvalue > 0.01
    assert abs(float(torch.corrcoef(delta.T)[0, 1])) < 0.02


@pytest.mark.parametrize("kind", [L2, Linf])
def test_projection_finds_the_nearest_point(kind):
    def length(delta):
        flat = delta.flatten(1)
        return flat.norm(dim=1) if kind is L2 else flat.abs().amax(1)

    ball, delta = kind(0.5), torch.randn(50, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    delta[:10] *= 0.05  # some lie inside
    near = ball.project(delta)
    assert torch.equal(near[:10], delta[:10])
    assert (length(near) <= 0.5 + 1e-6).all()
    # No point of the ball is nearer than the projection.
    for seed in range(20):
        others = ball.random_start(delta, torch.Generator().manual_seed(seed))
        assert ((others - delta).flatten(1).norm(dim=1) >= (near - delta).flatten(1).norm(dim=1))[
            10:
        ].all()


@pytest.mark.parametrize("kind", [L2, Linf])
@pytest.mark.parametrize("eps", [-0.1, float("inf"), float("nan")])
def test_a_radius_that_makes_no_sense_is_refused(kind, eps):
    with pytest.raises(ValueError, match=f"eps is {eps}; allowed are 0 and more"):
        kind(eps)
