"""Where networks come from: built by name, read from files, published."""

from lib.zoo.models import build

__all__ = ["build"]
