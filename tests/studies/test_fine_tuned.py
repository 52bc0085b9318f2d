"""Head starts by hand, when a source is where another ends, and networks that are attacked."""

import numpy as np
import pandas as pd
import pytest

from lib import microcosm
from lib.attacks import L2
from lib.constraint import NATURAL, Constraint
from lib.networks import small_network
from lib.robustness import accuracy, robust_accuracy
from lib.studies import fine_tuned

ROBUST = Constraint("l2", 0.5)


def curves_of(natural, robust):
    """Make rows of accuracies after epochs 1, 5 and 9, a line of them for each seed."""
    return pd.DataFrame(
        {"constraint": name, "source_seed": seed, "subset_seed": 10 * seed + 1}
        | {"epoch": epoch, "clean_accuracy": accuracy}
        for name, lines in ((NATURAL, natural), (ROBUST, robust))
        for seed, line in enumerate(lines)
        for epoch, accuracy in zip((1, 5, 9), line, strict=True)
    )


def test_a_source_that_is_better_by_the_same_at_each_epoch_has_no_head_start():
    curves = curves_of([[0.1, 0.4, 0.6], [0.2, 0.3, 0.5]], [[0.3, 0.6, 0.8], [0.4, 0.5, 0.7]])
    (row,) = fine_tuned.head_start(curves, 1).to_dict("records")
    assert row["constraint"] == ROBUST and row["seeds"] == 2
    assert row["mean"] == pytest.approx(0) and np.isnan(row["low"])  # all seeds agree


def test_a_head_start_is_the_early_difference_minus_the_last():
    curves = curves_of([[0.1, 0.4, 0.6], [0.2, 0.3, 0.5]], [[0.4, 0.7, 0.7], [0.6, 0.6, 0.6]])
    by_hand = [(0.7 - 0.4) - (0.7 - 0.6), (0.6 - 0.3) - (0.6 - 0.5)]
    (row,) = fine_tuned.head_start(curves, 5).to_dict("records")
    assert row["mean"] == pytest.approx(np.mean(by_hand))


def test_the_area_is_the_mean_over_the_epochs_of_each_model():
    rows = pd.DataFrame(
        {"epoch": [1, 2, 3] * 2, "clean_accuracy": [0.1, 0.4, 0.7, 0.5, 0.5, 0.8], "lr": [1] * 6}
    )
    found = fine_tuned.area(rows)
    assert found["area"].tolist() == pytest.approx([0.4, 0.6])
    assert found["clean_accuracy"].tolist() == [0.7, 0.8] and (found["epoch"] == 3).all()
    assert fine_tuned.area(rows.iloc[[0, 3]])["area"].tolist() == [0.1, 0.5]  # of one epoch


def test_networks_are_measured_without_attack_and_in_each_ball():
    images = microcosm.draw(20, 0)
    network = small_network("small_resnet", len(images.classes)).eval()
    measures = fine_tuned.attacks(images, [0.5, 0.25], steps=2)
    assert list(measures) == ["no attack", "ℓ2 0.25", "ℓ2 0.5"]
    found = {name: measure(network) for name, measure in measures.items()}
    assert found["no attack"] == accuracy(network, images)
    assert found["ℓ2 0.5"] == robust_accuracy(network, images, L2(0.5), steps=2)

    rows = pd.DataFrame([{"source_seed": 3, "clean_accuracy": 0.5, **found}])
    long = fine_tuned.by_attack(rows, measures)
    assert dict(zip(long["attack"], long["robust_accuracy"], strict=True)) == found
    assert (long["source_seed"] == 3).all() and (long["clean_accuracy"] == 0.5).all()
