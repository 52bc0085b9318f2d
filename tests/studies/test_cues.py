import math

import numpy as np
import pytest
import torch
from skimage.measure import label

from lib import microcosm
from lib.studies import cues

X = microcosm.draw(40, 0).x
PLAIN = microcosm.draw(40, 0, amplitude=0).x
EVERY = {
    "without_texture": cues.without_texture,
    "without_shape": cues.without_shape,
    "silhouettes": cues.silhouettes,
    "edges": cues.edges,
    "shuffled": lambda x: cues.shuffled(x, 4),
    "low_pass": lambda x: cues.low_pass(x, 0.1),
    "high_pass": lambda x: cues.high_pass(x, 0.1),
    "low_resolution": lambda x: cues.low_resolution(x, 8),
}


def grating(cycles, height=32, width=32):
    """A grating of so many cycles per pixel along the rows, 100 around 127.5."""
    wave = 100 * np.sin(2 * math.pi * cycles * np.arange(width) + 0.3) + 127.5
    return torch.from_numpy(wave).expand(1, 3, height, width).round().to(torch.uint8)


def strength(x):
    """The spread of the pixels, away from the borders."""
    return float(x[..., 8:-8, 8:-8].double().std())


@pytest.mark.parametrize("name", EVERY)
def test_form(name):
    before = X.clone()
    # Any image set: also wider than tall, and one image alone.
    for x in (X, torch.randint(256, (3, 3, 16, 24), dtype=torch.uint8), X[:1]):
        found = EVERY[name](x)
        assert found.shape == x.shape and found.dtype == torch.uint8
    assert torch.equal(X, before)
    assert not torch.equal(EVERY[name](X), X)


@pytest.mark.parametrize("name", sorted(set(EVERY) - {"shuffled", "without_shape"}))
def test_an_image_does_not_depend_on_the_others(name):
    assert torch.equal(EVERY[name](X)[7:9], EVERY[name](X[7:9]))


def test_without_texture_comes_near_the_image_that_never_had_one():
    def distance(a, b):
        return float((a.double() - b.double()).pow(2).mean().sqrt())

    assert distance(cues.without_texture(X), PLAIN) < 0.75 * distance(X, PLAIN)
    # It is the plain library call, image by image.
    from skimage.restoration import denoise_tv_chambolle

    one = denoise_tv_chambolle(X[3].permute(1, 2, 0).numpy() / 255, 0.1, channel_axis=-1)
    assert np.abs(255 * one - cues.without_texture(X)[3].permute(1, 2, 0).numpy()).max() <= 0.51


def test_without_shape_keeps_amplitudes_and_loses_phases():
    # Mid-grey images of low contrast, so that nothing is cut off at 0 or 255.
    x = (127 + (X.float() - 127) * 0.2).round().to(torch.uint8)
    found = cues.without_shape(x, seed=3)
    before, after = (torch.fft.fft2(v.double()) for v in (x, found))
    strong = before.abs() > 200
    ratio = after.abs()[strong] / before.abs()[strong]
    assert float(ratio.quantile(0.02)) > 0.9 and float(ratio.quantile(0.98)) < 1.1
    turned = (after.angle() - before.angle())[..., 1:, 1:][strong[..., 1:, 1:]]
    assert float(torch.polar(torch.ones_like(turned), turned).mean().abs()) < 0.1
    assert torch.equal(found, cues.without_shape(x, seed=3))
    assert not torch.equal(found, cues.without_shape(x, seed=4))


def test_with_other_texture_keeps_phases_and_has_amplitudes_of_another():
    x = (127 + (X.float() - 127) * 0.2).round().to(torch.uint8)
    found = cues.with_other_texture(x, seed=3)
    other = torch.randperm(len(x), generator=torch.Generator().manual_seed(3))
    mine, lent, after = (torch.fft.fft2(v.double()) for v in (x, x[other], found))
    strong = (mine.abs() > 200) & (lent.abs() > 200)
    ratio = after.abs()[strong] / lent.abs()[strong]
    assert float(ratio.quantile(0.05)) > 0.85 and float(ratio.quantile(0.95)) < 1.15
    turned = (after.angle() - mine.angle())[strong]
    assert float(torch.polar(torch.ones_like(turned), turned).mean().abs()) > 0.95
    assert torch.equal(found, cues.with_other_texture(x, seed=3))


def test_silhouettes_find_the_shape():
    discs = microcosm.draw(60, 1, shape=0, amplitude=0, contrast=(0.3, 0.5))
    empty = microcosm.draw(60, 1, shape=0, amplitude=0, contrast=(0, 0))
    real = (discs.x.int() - empty.x.int()).abs().amax(1) > 25
    found = cues.silhouettes(discs.x)[:, 0] == 0
    overlap = (real & found).sum((1, 2)) / (real | found).sum((1, 2))
    assert float(overlap.median()) > 0.85
    assert set(cues.silhouettes(X).unique().tolist()) == {0, 255}


def test_edges_enclose_the_shape():
    discs = microcosm.draw(40, 1, shape=0, amplitude=0, contrast=(0.4, 0.5)).x
    lines = cues.edges(discs)
    assert set(lines.unique().tolist()) == {0, 255}
    # What is white falls into two parts at least, inside and outside.
    parts = [label(image[0].numpy() == 255, connectivity=1).max() for image in lines]
    assert np.mean(np.array(parts) >= 2) > 0.8


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_shuffled_moves_whole_patches(parts):
    side = 32 // parts
    found = cues.shuffled(X, parts, seed=1)

    def patches(image):
        tiles = image.unfold(1, side, side).unfold(2, side, side)
        return sorted(t.numpy().tobytes() for t in tiles.permute(1, 2, 0, 3, 4).flatten(0, 1))

    assert all(patches(a) == patches(b) for a, b in zip(X, found, strict=True))
    # Each image in an order of its own.
    numbered = torch.arange(32 * 32).reshape(1, 1, 32, 32).remainder(251).to(torch.uint8)
    orders = cues.shuffled(numbered.expand(6, 3, 32, 32), parts, seed=1)
    assert len({image.numpy().tobytes() for image in orders}) > 3
    assert torch.equal(cues.shuffled(X, 1), X)


@pytest.mark.parametrize("cutoff", [0.1, 0.2, 0.3])
def test_a_pass_halves_what_lies_at_its_cutoff(cutoff):
    x = grating(cutoff, 64, 64)
    assert strength(cues.low_pass(x, cutoff)) == pytest.approx(strength(x) / 2, rel=0.06)
    assert strength(cues.high_pass(x, cutoff)) == pytest.approx(strength(x) / 2, rel=0.06)


def test_low_and_high_pass_are_opposites():
    low, high = grating(1 / 32), grating(0.4)
    assert strength(cues.low_pass(low, 0.2)) > 0.9 * strength(low)
    assert strength(cues.low_pass(high, 0.1)) < 0.02 * strength(high)
    assert strength(cues.high_pass(high, 0.1)) > 0.97 * strength(high)
    both = cues.low_pass(PLAIN, 0.15).int() + cues.high_pass(PLAIN, 0.15).int() - 128
    assert (both - PLAIN.int()).abs().float().quantile(0.99) <= 2


def test_low_resolution():
    assert torch.equal(cues.low_resolution(X, 32), X)
    one = cues.low_resolution(X, 1)
    assert (one.float() - one.float().mean((2, 3), keepdim=True)).abs().max() == 0
    fine = [strength(cues.low_resolution(grating(0.3), size)) for size in (32, 24, 16, 8)]
    assert fine == sorted(fine, reverse=True) and fine[-1] < 0.05 * fine[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cues.low_pass(X, 0), "cutoff is 0; allowed is above 0"),
        (lambda: cues.high_pass(X, -0.1), "cutoff is -0.1"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
