import pytest
from PIL import Image

from lib.advisor import candidates, starts
from lib.constraint import Constraint


def given(**changed):
    values = {"sources": "photographs natural", "with_ladder": False, "l2": [0.25], "linf": []}
    return {**values, **starts.load.__kwdefaults__, "n_source": 20, **changed}


def test_a_chapter_asks_for_its_sources_and_random_weights():
    assert candidates.asked(given()) == ["photographs natural", "untrained"]
    twice = given(sources="natural, untrained", with_ladder=True)
    assert candidates.asked(twice) == ["natural", "l2 0.25", "untrained"]
    with pytest.raises(ValueError, match="without the ladder, name sources"):
        candidates.asked(given(sources=""))


def test_random_weights_have_the_form_of_the_sources_beside_them():
    book, ladder = candidates.settings(given()), candidates.settings(given(with_ladder=True))
    assert book["source_data"] == "photographs" and "n_source" not in book
    assert ladder["source_data"] == "microcosm" and ladder["n_source"] == 20
    named = candidates.settings(given(sources="photographs natural, l2 0.5"))
    assert named["source_data"] == "microcosm"
    first = candidates.settings(given(sources="untrained, photographs natural"))
    assert first["source_data"] == "photographs"


def test_each_start_is_shown_images_of_its_size(tmp_path):
    for name in ("left", "right"):
        (tmp_path / "mine" / name).mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", (20, 20), (40 * i, 0, 0)).save(tmp_path / "mine" / name / f"{i}.png")
    two = [starts.Start(str(n), Constraint(str(n)), None, n) for n in (8, 16)]
    found = candidates.images(two, str(tmp_path / "mine"), 0)
    sides = {name.name: images.x.shape[-1] for name, images in found.items()}
    assert sides == {"8": 8, "16": 16} and {len(images) for images in found.values()} == {6}


def test_what_differs_in_the_adversary_alone_is_found():
    def found(*names):
        called = {name: starts.Start(name, Constraint(name.upper()), None, 32) for name in names}
        pair = candidates.robust_and_natural(called.values())
        return pair and [constraint.name for constraint in pair]

    ladder = ("natural", "l2 0.1", "l2 0.25", "l2 0.5", "linf 0.01", "untrained")
    assert found(*ladder) == ["L2 0.25", "NATURAL"]
    assert found("l2 0.5", "natural", "l2 0.1") == ["L2 0.1", "NATURAL"]
    assert found("linf 0.01", "natural") is None and found("l2 0.5", "untrained") is None
    come = ("photographs natural", "photographs l2 0.5")
    assert found(*ladder, *come) == ["PHOTOGRAPHS L2 0.5", "PHOTOGRAPHS NATURAL"]
