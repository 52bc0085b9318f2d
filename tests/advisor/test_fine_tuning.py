import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numbered import numbered
from sklearn.model_selection import StratifiedKFold

from lib.advisor import exported, fine_tuning
from lib.datasets import labelled
from lib.images import Images
from lib.tuning import Recipe, freeze_below, outputs, tune
from lib.zoo import models

SETTINGS = {"epochs": 3, "lr": 0.05, "batch_size": 16}


@pytest.mark.parametrize("unfrozen_blocks", [0, 2, -1])
def test_the_network_is_the_frozen_trunk_with_the_tuned_tail(mine, unfrozen_blocks):
    images, _ = labelled.load(mine)
    source = models.build("small_resnet", 5, seed=0, width=8).eval()
    before = {name: value.clone() for name, value in source.state_dict().items()}
    network, probs = fine_tuning.fine_tune(
        source, images, unfrozen_blocks=unfrozen_blocks, seed=7, **SETTINGS
    )
    above, (below,) = freeze_below(source, unfrozen_blocks, [images])
    everyone = torch.arange(len(images))[None]
    ((tail, _),) = tune(above, below, everyone, images.y[None], 2, Recipe(**SETTINGS), seeds=[7])
    with torch.no_grad():
        expected = outputs(tail, [below])
        assert torch.allclose(network(images.x / 255), expected, atol=1e-5)
    assert torch.allclose(fine_tuning.stated(network, images), expected.softmax(1), atol=1e-5)
    assert not network.training and probs.isnan().all()
    assert all(torch.equal(before[name], value) for name, value in source.state_dict().items())
    with pytest.raises(ValueError, match="epochs is 0"):
        fine_tuning.fine_tune(source, images, epochs=0)


@pytest.mark.parametrize("unfrozen_blocks", [0, 1])
def test_what_is_held_out_is_told_by_networks_that_have_not_seen_it(mine, unfrozen_blocks):
    images, _ = labelled.load(mine)
    source, calls = models.build("small_resnet", 5, seed=0, width=8).eval(), []
    how = {"unfrozen_blocks": unfrozen_blocks, "seed": 7, **SETTINGS}
    network, probs = fine_tuning.fine_tune(
        source, images, folds=3, watch=lambda *told: calls.append(told), **how
    )
    assert len(calls) == 4 * SETTINGS["epochs"]
    for train, test in fine_tuning.parts(images, 3, seed=7):
        alone, _ = fine_tuning.fine_tune(source, images[train], **how)
        expected = fine_tuning.stated(alone, images[test])
        assert torch.allclose(probs[test], expected, atol=1e-4)
    whole, _ = fine_tuning.fine_tune(source, images, **how)
    assert torch.allclose(
        fine_tuning.stated(network, images), fine_tuning.stated(whole, images), atol=1e-4
    )


def check_parts(counts, folds, seed):
    y = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    y = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))]
    parts = fine_tuning.parts(numbered(y), folds, seed)
    most = min(folds, max(counts))
    assert len(parts) == (most if most > 1 else 0)
    tested = torch.cat([test for _, test in parts]) if parts else torch.tensor([])
    several = [i for i, label in enumerate(y.tolist()) if counts[label] > 1]
    assert sorted(tested.tolist()) == (several if parts else [])
    for train, test in parts:
        assert sorted([*train.tolist(), *test.tolist()]) == list(range(len(y)))
        assert set(y[train].tolist()) == set(y.tolist())  # every class is learnt
        for label, count in enumerate(counts):
            assert abs(int((y[test] == label).sum()) - count / most) < 1 or count == 1


some = st.lists(st.integers(1, 40), min_size=2, max_size=8)


@settings(max_examples=60, deadline=None)
@given(some, st.integers(0, 6), st.integers(0, 10**6))
def test_folds_share_out_every_class_and_train_what_is_alone(counts, folds, seed):
    check_parts(counts, folds, seed)


@pytest.mark.long
@settings(max_examples=3000, deadline=None)
@given(some, st.integers(0, 6), st.integers(0, 10**6))
def test_any_folds_share_out_every_class_and_train_what_is_alone(counts, folds, seed):
    check_parts(counts, folds, seed)


def test_folds_are_as_even_as_those_of_scikit_learn():
    y = torch.tensor([0] * 23 + [1] * 9 + [2] * 4)
    ours = [y[test].bincount(minlength=3) for _, test in fine_tuning.parts(numbered(y), 4, 0)]
    theirs = [
        y[torch.from_numpy(test)].bincount(minlength=3)
        for _, test in StratifiedKFold(4, shuffle=True, random_state=0).split(y.numpy(), y.numpy())
    ]
    assert sorted(map(int, torch.stack(ours)[:, 0])) == sorted(map(int, torch.stack(theirs)[:, 0]))
    assert torch.stack(ours)[:, 2].tolist() == torch.stack(theirs)[:, 2].tolist() == [1, 1, 1, 1]


def test_identical_images_are_held_out_together_whatever_their_labels():
    images = numbered(torch.tensor([0] * 12 + [1] * 5 + [2] * 2))
    x = images.x.clone()
    x[0], x[1], x[2] = x[12], x[17], x[3]
    parts = fine_tuning.parts(Images(x, images.y, images.classes), 4, seed=0)
    assert torch.cat([test for _, test in parts]).sort().values.tolist() == list(range(19))
    for train, test in parts:
        for twins in ({0, 12}, {1, 17}, {2, 3}):
            assert twins <= set(train.tolist()) or twins <= set(test.tolist())
        assert set(images.y[train].tolist()) == {0, 1, 2}


def test_networks_of_other_libraries_are_put_together_too(mine, tmp_path):
    pytest.importorskip("timm")
    images, _ = labelled.load(mine)
    for arch in ("torchvision:resnet18", "timm:resnet18"):
        source = models.build(arch, 5).eval()
        network, _ = fine_tuning.fine_tune(source, images, unfrozen_blocks=1, seed=7, **SETTINGS)
        above, (below,) = freeze_below(source, 1, [images])
        everyone = torch.arange(len(images))[None]
        ((tail, _),) = tune(
            above, below, everyone, images.y[None], 2, Recipe(**SETTINGS), seeds=[7]
        )
        with torch.no_grad():
            assert torch.allclose(network(images.x / 255), outputs(tail, [below]), atol=1e-4)
        # Saving compares what the file computes.
        exported.save(network, tmp_path / "a.pt2", classes=images.classes, size=32)
