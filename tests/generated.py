"""How often a test is tried on what hypothesis generates."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st


def examples(count):
    """So many: few in the quick tests, many in the long ones."""
    return settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck))


def nested(scalars, *, size, leaves):
    """Scalars, lists of up to so many, and mappings, within one another, of so many leaves."""
    return st.recursive(
        scalars,
        lambda inner: st.one_of(
            st.lists(inner, max_size=size), st.dictionaries(st.text(max_size=3), inner, max_size=2)
        ),
        max_leaves=leaves,
    )
