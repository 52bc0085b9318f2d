"""Recipes for sources, compared by the validation part of what they learn."""

import pytest
from own_images import to_learn

from lib.robustness import accuracy
from lib.studies import evidence, measured, pretrained, recipes, shipping

QUICK = {**shipping.RECIPE, "width": 2, "batch_size": 16}


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """Everything is written to folders of this test, by tiny networks."""
    monkeypatch.setattr(pretrained, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(evidence, "RESULTS", tmp_path / "data" / "results")
    monkeypatch.setattr(evidence.files, "DATA", tmp_path / "data")
    monkeypatch.setattr(recipes, "RECIPE", QUICK)
    monkeypatch.setattr(recipes, "EPOCHS", 1)
    evidence.RESULTS.mkdir(parents=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return to_learn(tmp_path_factory.mktemp("photographs"))


def test_a_recipe_is_judged_by_the_validation_part(folder):
    images = shipping.parts(folder)
    del images["test"]
    (row,) = recipes.compared(images, {"wider": {"width": 4}}).to_dict("records")
    how = {**QUICK, "width": 4, "epochs": 1, "device": "cpu"}
    model, record = pretrained.source(images["learned"], images["validation"], **how)
    assert row == {
        "constraint": "natural", "source_seed": 0, "recipe": "wider", "epochs": 1,
        "images": len(images["validation"]),
        "train_accuracy": record["train_accuracy"],
        "validation_accuracy": accuracy(model, images["validation"]),
        "seconds": record["seconds"],
    }  # fmt: skip
    assert [one.name for one in pretrained.CACHE.glob("*.safetensors")]


def test_the_table_has_every_recipe(folder, monkeypatch, capsys):
    monkeypatch.setattr(recipes, "CHANGES", {"as it is": {}})
    assert recipes.main([str(folder)]) == 0
    assert "1 rows in" in capsys.readouterr().out
    rows = measured.evidence("photographs", "recipes", evidence.RESULTS)
    assert list(rows["recipe"]) == ["as it is"]
    assert recipes.main([str(folder / "nothing")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1


def test_each_change_is_one_of_the_recipe():
    for name, change in recipes.CHANGES.items():
        how = pretrained.Training(**{**shipping.RECIPE, **change})
        assert (how == pretrained.Training(**shipping.RECIPE)) == (name == "as it is")
        assert len(change) == (name != "as it is")


def test_the_table_of_the_book_is_whole():
    rows = measured.evidence("photographs", "recipes", measured.RESULTS)
    assert list(rows["recipe"]) == list(recipes.CHANGES)
    assert rows[["validation_accuracy", "train_accuracy"]].stack().between(0, 1).all()
