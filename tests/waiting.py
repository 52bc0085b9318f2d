"""Waiting for what another process does."""

import time


def within(seconds, happens):
    """Wait until something happens, for some seconds at most, and tell whether it has."""
    end = time.monotonic() + seconds
    while not happens():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
