"""Rows of `lib.advisor.advice.measure` by constraint, of accuracies that are given."""

import pandas as pd


def rows_of(accuracies, n_train=30):
    """Rows of sources from {constraint: accuracies, one a split}."""
    return pd.DataFrame(
        {"constraint": source, "split": i, "n_train": n_train, "clean_accuracy": value}
        for source, values in accuracies.items()
        for i, value in enumerate(values)
    )
