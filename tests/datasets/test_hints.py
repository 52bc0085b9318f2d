import pytest
from reading_sets import noise

from lib.datasets import survey
from lib.images import SPLITS


@pytest.fixture(autouse=True)
def cache(empty_downloads):
    """A store of decoded images of this test alone."""
    return empty_downloads


def laid_out(root, *folders, each=3):
    for folder in folders:
        for i in range(each):
            noise(root / folder / f"{i}.png")
    return root


def doubts(root):
    said = [note for note in survey(root).notes if note.startswith("read as")]
    assert all("\n" not in note for note in said)
    return said


def test_classes_are_no_doubt(tmp_path):
    laid_out(tmp_path, "cats", "dogs", "dogs/large", "dogs/small")
    assert doubts(tmp_path) == []


def test_classes_that_hold_the_same_folders(tmp_path):
    laid_out(tmp_path, "day1/cats", "day1/dogs", "day2/cats", "day2/dogs")
    assert doubts(tmp_path) == [
        "read as 2 classes, day1, day2; day1, day2 hold the same folders, cats, dogs: are those "
        f"the classes? then name {tmp_path / 'day1'}, or join them"
    ]


def test_splits_within_the_classes(tmp_path):
    laid_out(tmp_path, *(f"{name}/{split}" for name in ("cats", "dogs") for split in SPLITS))
    (doubt,) = doubts(tmp_path)
    assert doubt.endswith(
        "are those splits? then put the classes into them, not them into the classes"
    )


def test_the_root_of_a_repository(tmp_path):
    laid_out(tmp_path, *(f"Dataset/{i}" for i in range(10)), "Examples")
    said = survey(tmp_path)
    assert said.lines()[0].endswith("chance is 50 %, the largest class, Dataset, has 90.9 %")
    (doubt,) = doubts(tmp_path)
    assert "Dataset/ holds folders, 0, 1, 2, 3, … (10 in all), and no images itself" in doubt
    assert doubt.endswith(f"are those the classes? then name {tmp_path / 'Dataset'}")


def test_splits_that_are_wrapped_once_more(tmp_path):
    laid_out(tmp_path, *(f"seg_{s}/seg_{s}/{name}" for s in ("train", "test") for name in "ab"))
    with pytest.raises(ValueError, match="has 1 class") as error:
        survey(tmp_path)
    inner = tmp_path / "seg_train" / "seg_train"
    assert str(error.value).endswith(f"; if the classes are a, b, move them up, from {inner}")


def test_images_beside_their_masks(tmp_path):
    laid_out(tmp_path, "Images", "Masks")
    (doubt,) = doubts(tmp_path)
    assert doubt.startswith("read as 2 classes, Images, Masks: are these images beside their anno")


def test_a_class_that_is_called_like_a_split(tmp_path):
    laid_out(tmp_path, "car", "train")
    assert doubts(tmp_path) == [
        "read as 2 classes, car, train: train is taken for a class, not for a split"
    ]


def test_images_beside_the_classes(tmp_path):
    laid_out(tmp_path, "cats", "dogs", ".")
    assert "left out, beside the class folders: 3 images" in survey(tmp_path).notes
