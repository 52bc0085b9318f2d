import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torch import nn

from lib import microcosm, training
from lib.images import scale
from lib.studies import likeness
from lib.zoo import models


class Says(nn.Module):
    """A judge of three classes whose log-odds are the image's three mean colours, times ten."""

    def __init__(self, order=(0, 1, 2)):
        super().__init__()
        self.order = nn.Parameter(torch.tensor(order).double())

    def forward(self, x):
        return 10 * x.mean((2, 3))[:, self.order.long()]


def coloured(*colours):
    """Images of one colour each."""
    return torch.tensor(colours, dtype=torch.float32)[:, :, None, None].expand(-1, -1, 8, 8)


RED, GREEN, BLUE = (1, 0, 0), (0, 1, 0), (0, 0, 1)


def test_only_one_cue_of_a_lesson_tells_the_class(monkeypatch):
    n = 500
    monkeypatch.setattr(likeness, "SPREAD", 0)
    for cue in ("shape", "texture"):
        found = likeness.lessons(cue, n, 7)
        y = found.y
        assert len(y.unique()) == 10
        # The other cue is one of all classes, whatever the label.
        candidates = torch.stack(
            [
                (
                    microcosm.draw(n, 7, shape=y, texture=torch.full((n,), c))
                    if cue == "shape"
                    else microcosm.draw(n, 7, shape=torch.full((n,), c), texture=y)
                ).x
                for c in range(10)
            ]
        )
        drawn = (candidates == found.x).flatten(2).all(2)  # (10, n)
        assert bool(drawn.any(0).all())
        other = drawn.int().argmax(0)
        assert len(other.unique()) == 10
        assert 0.05 < float((other == y).double().mean()) < 0.15


def test_lessons_are_noisy_to_different_degrees(monkeypatch):
    noisy, again = (likeness.lessons("shape", 300, 7) for _ in range(2))
    assert torch.equal(noisy.x, again.x)
    monkeypatch.setattr(likeness, "SPREAD", 0)
    clean = likeness.lessons("shape", 300, 7)
    residue = (noisy.x.double() - clean.x.double()).flatten(1).std(1) / 255
    assert float(residue.min()) < 0.01 and 0.08 < float(residue.max()) < 0.11
    assert float(residue.mean()) == pytest.approx(0.05, abs=0.007)


def test_lessons_of_another_size_are_scaled_before_the_noise_is_added(monkeypatch):
    noisy = likeness.lessons("texture", 300, 7, size=48).x.double()
    monkeypatch.setattr(likeness, "SPREAD", 0)
    clean = likeness.lessons("texture", 300, 7, size=48).x.double()
    small, large = likeness.lessons("texture", 20, 7), likeness.lessons("texture", 20, 7, size=48)
    assert torch.equal(large.x, scale(small.x, 48)) and torch.equal(large.y, small.y)
    neighbours = (noisy - clean)[..., :-1].flatten(), (noisy - clean)[..., 1:].flatten()
    assert abs(np.corrcoef(*neighbours)[0, 1]) < 0.1


def test_a_judge_learns_its_cue_and_not_the_other(monkeypatch):
    monkeypatch.setattr(likeness, "SPREAD", 0.02)
    for cue, absent in (("shape", {"amplitude": 0}), ("texture", {"contrast": (0, 0)})):
        model = models.build("small_resnet", 10, seed=3, width=8)
        training.fit(model, likeness.lessons(cue, 2000, 7), epochs=6, seed=3)
        own = microcosm.draw(200, 1, **absent)
        lacking = {"amplitude": {"contrast": (0, 0)}, "contrast": {"amplitude": 0}}
        others = microcosm.draw(200, 1, **lacking[next(iter(absent))])
        right, wrong = (
            likeness.recognised({cue: [model]}, training.pixels(part.x), part.y)[cue]
            for part in (own, others)
        )
        assert right > 0.6 and wrong < 0.25


def test_recognised_counts_the_answers_of_each_cues_judges():
    x = coloured(RED, GREEN, BLUE, BLUE)
    y = torch.tensor([0, 1, 2, 0])
    found = likeness.recognised({"a": [Says()], "b": [Says(), Says((1, 0, 2))]}, x, y)
    assert found == {"a": 0.75, "b": (0.75 + 0.25) / 2}


def test_opinions_are_probabilities_of_models_in_eval_mode():
    judge = models.build("small_resnet", 3, seed=0, width=4)
    x = torch.rand(5, 3, 32, 32)
    found = likeness.opinions([judge, judge], x)
    assert found.shape == (2, 5, 3) and torch.allclose(found.sum(2), torch.ones(2, 5))
    assert torch.allclose(found[0, 2:3], likeness.opinions([judge], x[2:3])[0], atol=1e-5)
    assert judge.training


def test_order():
    steady = coloured((1, 0, 0), (0.8, 0.1, 0), (0.5, 0.5, 0), (0, 1, 0))
    mixed = steady[[0, 2, 1, 3]]
    frames = torch.stack([steady, mixed, steady.flip(0), steady[[1, 1, 1, 1]]], dim=1)
    y_from, y_to = torch.zeros(4, dtype=torch.int64), torch.ones(4, dtype=torch.int64)

    def one(i):
        return likeness.order([Says()], frames[:, i : i + 1], y_from[:1], y_to[:1])

    # The second and third frame exchanged: 1 − 6 · 2 / (4 · 15).
    assert [one(i) for i in range(4)] == pytest.approx([1, 0.8, -1, 0])
    assert likeness.order([Says()], frames, y_from, y_to) == pytest.approx(0.2)
    # A judge who takes red for green and green for red sees the reverse.
    both = likeness.order([Says(), Says((1, 0, 2))], frames[:, :1], y_from[:1], y_to[:1])
    assert both == pytest.approx(0)


def test_covered():
    start, goal = coloured((0, 0, 0), (0, 0, 0)), coloured((1, 1, 1), (1, 1, 1))
    found = coloured((0.25, 0.25, 0.25), (1, 1, 1))
    assert likeness.covered(found, start, goal).tolist() == pytest.approx([0.25, 1])
    assert likeness.covered(start, start, goal).tolist() == [0, 0]


def test_similarity_is_the_librarys():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 3, 3, 16, 12, generator=generator)
    expected = [
        structural_similarity(
            *(np.moveaxis(v[i].numpy(), 0, -1) for v in (a, b)), channel_axis=-1, data_range=1.0
        )
        for i in range(3)
    ]
    assert likeness.similarity(a, b).tolist() == pytest.approx(expected)
    assert likeness.similarity(a, a).tolist() == pytest.approx([1, 1, 1])


def test_masks_cover_the_shape_and_nothing_else():
    n, seed = 30, 5
    found = likeness.masks(n, seed)
    empty, drawn = (
        microcosm.draw(n, seed, amplitude=0, contrast=(c, c)).x.int() for c in (0.0, 0.4)
    )
    changed = (drawn - empty).abs().amax(1)
    assert not bool((changed > 1)[~found].any())
    assert float((changed[found] > 1).double().mean()) > 0.98
    # Bars are thinner than discs.
    y = microcosm.draw(500, seed).y
    area = likeness.masks(500, seed).double().mean((1, 2))
    assert float(area[y == 8].mean()) < float(area[y == 0].mean())


def test_masks_of_another_size_cover_the_same():
    small, large = likeness.masks(40, 3), likeness.masks(40, 3, size=64)
    assert large.shape == (40, 64, 64)
    agree = (large[:, ::2, ::2] == small).double().mean()
    assert float(agree) > 0.95


def test_concentration():
    inside = torch.zeros(3, 4, 4, dtype=torch.bool)
    inside[0, 0, 0], inside[1, :2, :2], inside[2, 3] = True, True, True
    flat = torch.ones(3, 4, 4)
    assert [v.tolist() for v in likeness.concentration(flat, inside)] == [[1, 1, 1], [1, 1, 1]]
    # Everything on one pixel of the second mask, which the first shares.
    energy = torch.zeros(3, 4, 4)
    energy[:, 0, 0] = 2.0
    own, others = likeness.concentration(energy, inside)
    assert own.tolist() == [16, 4, 0]
    assert others.tolist() == [(4 + 0) / 2, (16 + 0) / 2, (16 + 4) / 2]
    # A map of zeros has no preference.
    own, others = likeness.concentration(torch.zeros(3, 4, 4), inside)
    assert own.tolist() == others.tolist() == [1, 1, 1]


def test_favourites():
    features = torch.tensor([[1.0, 0.0, 5.0], [3.0, 0.0, 5.0], [0.0, 1.0, 6.0]])
    assert likeness.favourites(features, torch.tensor([4, 4, 7])).tolist() == [4, 7, 7]


def test_elsewhere():
    pool = torch.arange(60) % 4
    y = torch.tensor([0, 1, 2, 3] * 25)
    found = likeness.elsewhere(y, pool, seed=0)
    assert not bool((pool[found] == y).any()) and len(found.unique()) > 30
    assert torch.equal(found, likeness.elsewhere(y, pool, seed=0))
    assert not torch.equal(found, likeness.elsewhere(y, pool, seed=1))


BAD = {
    "n": (lambda: likeness.lessons("shape", 0, 0), "n is 0"),
    "classes": (lambda: likeness.elsewhere(torch.tensor([1]), torch.tensor([1]), 0), "all images"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_one_line(kind):
    call, said = BAD[kind]
    with pytest.raises(ValueError, match=said) as error:
        call()
    assert "\n" not in str(error.value)
