"""Numbers handed from a chapter's cells to its prose."""

from myst_nb import glue


def quote(**values):
    """Store numbers (and texts) under their names, for the prose to quote by `glue`.

    values: numbers, texts, or triples (mean, low, high), stored as name, name_low and name_high.
    Nothing is displayed.
    """
    for name, value in values.items():
        if isinstance(value, tuple):
            for suffix, part in zip(("", "_low", "_high"), value, strict=True):
                glue(name + suffix, float(part), display=False)
        else:
            glue(name, value if isinstance(value, str) else float(value), display=False)
