"""What is said of a recommendation holds for any number of sources and plans."""

import numpy as np
import pandas as pd
import torch

from lib.advisor.advice import Plan
from lib.constraint import FROM_SCRATCH, NATURAL, Constraint
from lib.figures import advice_words
from lib.figures.estimates import Estimate
from lib.images import Images

BEST, WEAK = Constraint("l2", 0.5), Constraint("l2", 0.1)


def images(*counts):
    y = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    x = torch.zeros(len(y), 3, 8, 8, dtype=torch.uint8)
    return Images(x, y, ("a_1", "b", "c")[: len(counts)])


def test_what_so_few_images_cannot_tell_is_said():
    said = advice_words.cautions(images(96, 4), [4, 8, 75], 320, 20, 100)
    assert said[0].startswith("100 labelled images give the advice, 96.0 % of them of the largest")
    assert "an accuracy of 80 % could as well be 71 or 87 %" in said[0]
    assert "from 300; with more of them the advice may be another" in said[1]
    assert said[2].endswith("next to nothing of a class: b (4).")
    assert said[3] == "20 test images are left out, to tell in the end what was reached."
    assert len(said) == 4
    (_, few, short) = advice_words.cautions(images(4, 4), [4, 6], 8, 0, 8)
    assert few.endswith(r"a\_1 (4) and b (4).") and "too few to follow" in short
    assert len(advice_words.cautions(images(30, 30), [4, 8, 16], 61, 0, 500)) == 1  # but a copy


def test_an_accuracy_is_held_against_naming_the_largest_class():
    better = advice_words.beyond_naming_one(Estimate(98, 96.5, 99, "%"), 0.96, 1)
    assert better == (
        "that is surely better than always naming the largest class, which is right for 96.0 %"
    )
    of_five = advice_words.beyond_naming_one(Estimate(97, 92, 99, "%"), 0.96, 5)
    assert of_five == (
        "that is not surely better than always naming the largest class, which is right for "
        "96.0 %; this verdict counts that it was picked as the best of 5"
    )


def plans(*gaps):
    """The best of some plans, and by how much it is ahead of each other one, give or take 5."""
    best, *others = [Plan(BEST, -1), Plan(NATURAL, 0), Plan(WEAK, 2), Plan(FROM_SCRATCH, -1)]
    rows = [(p, g, g - 0.05, g + 0.05) for p, g in zip(others, gaps, strict=False)]
    return best, pd.DataFrame(rows, columns=["plan", "mean", "low", "high"])


def test_a_plan_is_taken_with_what_is_as_good_and_with_what_random_weights_are_worth():
    assert advice_words.what_to_take(*plans(0.01, 0.02, 0.1)) == (
        "Take ℓ2 0.5 with everything trained: of 4 plans, each a source and what of it is trained, "
        "this one has the highest mean accuracy, but no difference can be told between it and "
        "natural with the head alone trained or ℓ2 0.1 with the head and the last 2 blocks "
        "trained. It is 10.0 points ahead of random weights (from scratch) with everything trained "
        "(95 % interval 5.0 to 15.0), by an interval that holds together with those of the other "
        "plans."
    )
    unsure = advice_words.what_to_take(*plans(0.01, 0.02, 0.03))
    assert "trained, ℓ2 0.1 with the head and the last 2 blocks trained or 1 more. No" in unsure
    assert "No difference between it and random weights (from scratch) with everything" in unsure
    assert "trained can be told (+3.0 points, 95 % interval -2.0 to +8.0), by an" in unsure
    shared = advice_words.what_to_take(*plans(0, 0.02))
    assert "this one shares the highest mean accuracy with one other, but no difference" in shared
    both = advice_words.what_to_take(*plans(0, 0))
    assert "this one shares the highest mean accuracy with 2 others, but no" in both
    alone = advice_words.what_to_take(*plans(0.2))
    assert alone.endswith("has the highest mean accuracy, and is ahead of each other one.")
    assert "nothing to choose" in advice_words.what_to_take(*plans())


def recommended(lows, best="a"):
    frame = pd.DataFrame(
        [(name, low + 0.02, low, low + 0.04) for name, low in lows.items()],
        columns=["constraint", "mean", "low", "high"],
    )
    return advice_words.recommendation(best, frame)


def test_a_recommendation_says_how_sure_it_is():
    assert recommended({}) == "Only a was measured, so there is nothing to choose."
    assert recommended({"b": 0.01, "c": 0.05}) == (
        "Start from a, which is 3.0 points ahead of b (interval 1.0 to 5.0), and no less far ahead "
        "of the others."
    )
    assert recommended({"b": 0.01}) == (
        "Start from a, which is 3.0 points ahead of b (interval 1.0 to 5.0)."
    )
    assert recommended({"b": -0.01, "c": -0.005}) == (
        "No difference can be told between a, which has the highest mean accuracy, and b or c."
    )
    assert recommended({"b": -0.01, "c": 0.05}) == (
        "Start from a or b: the first has the highest mean accuracy and is 7.0 points ahead of c "
        "(interval 5.0 to 9.0), but no difference can be told between it and the other of these."
    )
    assert "which shares the highest mean accuracy with one other, and b or c." in (
        recommended({"b": -0.02, "c": -0.01})
    )
    shared = recommended({"b": -0.02, "c": -0.02, "d": 0.05})
    assert shared.startswith("Start from a, b or c: the first shares the highest mean accuracy")
    assert " with 2 others and is 7.0 points ahead of d " in shared
    assert shared.endswith("between it and the other 2 of these.")
    # One split tells nothing of the spread.
    assert "No difference can be told" in recommended({"b": np.nan})
    assert recommended({}, NATURAL).startswith("Only natural was measured")
