import pytest
import torch
from own_images import draw

from lib.advisor import checked, fine_tuning, scores
from lib.datasets import labelled
from lib.images import Images
from lib.zoo import models

SETTINGS = {"unfrozen_blocks": 0, "epochs": 20, "lr": 0.1, "seed": 0}


def labelled_at_random(count, seed):
    """Images of noise with labels that nothing tells: half of the answers can be right, no more."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 256, (count, 3, 16, 16), generator=generator, dtype=torch.uint8)
    return Images(x, torch.arange(count) % 2, ("heads", "tails"))


@pytest.fixture(scope="module")
def source():
    return models.build("small_resnet", 10, seed=0).eval()


def test_what_is_reported_is_of_unseen_images_though_all_are_learnt_by_heart(source):
    images = labelled_at_random(60, 0)
    how = {**SETTINGS, "unfrozen_blocks": -1, "epochs": 40, "lr": 0.05}
    done = checked.fine_tuned(source, images, None, folds=3, **how)
    seen = scores.of(fine_tuning.stated(done.network, images), images.y)
    assert seen.accuracy > 0.9  # what would be told by the images that trained
    assert done.scores.images == 60 and done.scores.low < 0.5 < done.scores.high
    assert done.seen_since and len(done.images) == 60
    (_, sure) = checked.worth(done.scores, "images held out in turn")
    assert done.scores.stated > done.scores.accuracy and "points more than it gets right" in sure


@pytest.mark.parametrize("all_images", [False, True])
def test_test_images_tell_how_good_it_is_and_train_only_where_that_is_asked(source, all_images):
    images, test = labelled_at_random(40, 0), labelled_at_random(30, 1)
    done = checked.fine_tuned(source, images, test, folds=4, all_images=all_images, **SETTINGS)
    alone, _ = fine_tuning.fine_tune(source, images, **SETTINGS)
    assert done.scores == scores.of(fine_tuning.stated(alone, test), test.y)
    assert (len(done.images), done.seen_since) == ((70, True) if all_images else (40, False))
    every, _ = fine_tuning.fine_tune(source, done.images, **SETTINGS)
    stated = (fine_tuning.stated(network, test) for network in (done.network, every))
    assert torch.allclose(*stated, atol=1e-5)


def test_nothing_is_claimed_where_no_image_was_held_out(source):
    images = labelled_at_random(8, 0)
    done = checked.fine_tuned(source, images, None, folds=0, **SETTINGS)
    assert done.scores is None and not done.seen_since
    assert "not measured" in checked.worth(None, "test images")[0]
    alone = Images(images.x[:2], images.y[:2], images.classes)  # one of each class
    assert checked.fine_tuned(source, alone, None, folds=4, **SETTINGS).scores is None


def test_the_progress_counts_every_epoch_of_every_fine_tuning(source, capsys):
    images = labelled_at_random(24, 0)
    checked.fine_tuned(source, images, None, folds=3, **SETTINGS)
    assert capsys.readouterr().err.splitlines()[-1].startswith("fine-tuning, epochs: 80 of 80, ")


def test_a_class_with_one_image_is_trained_and_counted_nowhere(source, tmp_path):
    root = draw(tmp_path / "set", {"dark": 9, "light": 9, "lone": 1})
    images, _ = labelled.load(root)
    done = checked.fine_tuned(source, images, None, folds=3, **SETTINGS)
    assert (len(done.images), done.scores.images) == (19, 18)
