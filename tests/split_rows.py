"""Rows of `lib.advisor.advice.measure` by constraint, of accuracies that are given."""

import pandas as pd


def rows_of(accuracies, n_train=30, n_test=1000):
    """Rows of sources from {constraint: accuracies, one a split}; their test sides are large."""
    return pd.DataFrame(
        {
            "constraint": source,
            "split": i,
            "n_train": n_train,
            "n_test": n_test,
            "clean_accuracy": value,
            "balanced_accuracy": value / 2,
        }
        for source, values in accuracies.items()
        for i, value in enumerate(values)
    )
