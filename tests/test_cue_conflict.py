import numpy as np
import pytest
import torch

from lib import datasets, microcosm
from lib.cue_conflict import APART, drawn, phase_against_amplitude
from lib.images import Images


def test_drawn_conflicts_are_balanced():
    found = drawn(180, 0)
    pairs = found.shape * 10 + found.texture
    assert (found.shape != found.texture).all()
    assert pairs.unique(return_counts=True)[1].tolist() == [2] * 90
    assert len(drawn(7, 0)) == 7 and found.x.shape == (180, 3, 32, 32)


def test_drawn_conflicts_are_those_of_the_generator():
    found = drawn(40, 3, amplitude=0.1)
    cues = {"shape": found.shape, "texture": found.texture}
    assert torch.equal(found.x, microcosm.draw(40, APART + 3, amplitude=0.1, **cues).x)
    # Each cue alone: what the other class is makes no difference.
    cues["texture"] = (found.texture + 3) % 10
    assert torch.equal(found.shape_alone, microcosm.draw(40, APART + 3, amplitude=0, **cues).x)
    cues = {"shape": (found.shape + 3) % 10, "texture": found.texture}
    alone = microcosm.draw(40, APART + 3, contrast=(0, 0), amplitude=0.1, **cues).x
    assert torch.equal(found.texture_alone, alone)
    assert not torch.equal(found.x, drawn(40, 4, amplitude=0.1).x)


def test_conflicts_are_of_other_places_and_colours_than_images_learned_from():
    found = drawn(40, 0)
    same = microcosm.draw(40, 0, shape=found.shape, texture=found.texture)
    for split in ("train", "test"):
        images = datasets.load("microcosm", split, n=40)
        apart = (found.x.float() - images.x.float()).abs().mean()
        twins = (same.x.float() - images.x.float()).abs().mean()
        assert apart > 35 and (split == "test" or twins < 25)  # over seeds 47 ± 2, and 17 ± 1


@pytest.fixture(scope="module")
def mixed():
    images = datasets.load("microcosm", "test", n=120)
    return images, phase_against_amplitude(images, 50, 1)


def test_drawn_conflicts_have_the_size_asked_for():
    small, large = drawn(12, 4), drawn(12, 4, size=64)
    for name in ("x", "shape_alone", "texture_alone"):
        assert getattr(large, name).shape == (12, 3, 64, 64)
    assert torch.equal(large.shape, small.shape) and torch.equal(large.texture, small.texture)


def test_phase_and_amplitude_come_from_the_two_images(mixed):
    images, found = mixed
    assert (found.shape != found.texture).all() and found.classes == images.classes
    # The plain way, one channel of one image at a time, by NumPy.
    for i in (0, 17, 49):
        for c in range(3):
            phase = np.angle(np.fft.fft2(found.shape_alone[i, c].numpy().astype(float)))
            amplitude = np.abs(np.fft.fft2(found.texture_alone[i, c].numpy().astype(float)))
            both = np.fft.ifft2(amplitude * np.exp(1j * phase)).real
            expected = np.clip(np.round(both), 0, 255)
            assert np.abs(expected - found.x[i, c].numpy()).max() <= 1
            assert np.mean(expected != found.x[i, c].numpy()) < 0.01


def test_the_cues_carry_the_classes_of_their_images(mixed):
    images, found = mixed
    known = {image.numpy().tobytes(): int(y) for image, y in zip(images.x, images.y, strict=True)}
    for alone, cue in ((found.shape_alone, found.shape), (found.texture_alone, found.texture)):
        assert [known[image.numpy().tobytes()] for image in alone] == cue.tolist()


def test_only_classes_that_have_images(mixed):
    images, _ = mixed
    some = images[(images.y == 2) | (images.y == 7)]
    found = phase_against_amplitude(some, 10, 0)
    assert set(found.shape.tolist()) == set(found.texture.tolist()) == {2, 7}


def test_wanted_pairs(mixed):
    images, _ = mixed
    pairs = torch.tensor([1, 1, 4]), torch.tensor([1, 2, 0])
    found = phase_against_amplitude(images, 3, 0, pairs=pairs)
    assert torch.equal(found.shape, pairs[0]) and torch.equal(found.texture, pairs[1])
    with pytest.raises(ValueError, match="no image is of class 4, of which a cue is wanted"):
        phase_against_amplitude(images[images.y != 4], 3, 0, pairs=pairs)


def test_the_seed_decides(mixed):
    images, found = mixed
    assert torch.equal(found.x, phase_against_amplitude(images, 50, 1).x)
    assert not torch.equal(found.x, phase_against_amplitude(images, 50, 2).x)


def test_bad_input(mixed):
    images, _ = mixed
    one = Images(images.x[:3], torch.zeros(3, dtype=torch.int64), images.classes)
    with pytest.raises(ValueError, match="the images are of 1 class; a conflict needs two"):
        phase_against_amplitude(one, 5, 0)
    with pytest.raises(ValueError, match="n is 0; at least 1 conflict"):
        phase_against_amplitude(images, 0, 0)
    with pytest.raises(ValueError, match="n is 0"):
        drawn(0, 0)
