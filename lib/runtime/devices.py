"""Where a call computes, and in how many threads."""

from collections.abc import Callable, Mapping
from typing import Any

import torch


def in_one_thread(function: Callable, call: Mapping) -> Any:
    """Call a function with keyword arguments; it computes in one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return function(**call)
    finally:
        torch.set_num_threads(threads)  # a single worker is the caller's own process


def choose_here(device: str | torch.device) -> str | torch.device:
    """Return the device; for "auto" this process's GPU where it has one, else the CPU."""
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"
