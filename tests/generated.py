"""How often a test is tried on what hypothesis generates."""

from hypothesis import HealthCheck, settings


def examples(count):
    """So many, without a data base: few in the quick tests, many in the long ones."""
    return settings(
        max_examples=count, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
