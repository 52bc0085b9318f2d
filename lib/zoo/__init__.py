"""Where networks come from: built by name, read from files, published."""

from lib.zoo.models import build
from lib.zoo.weights import read

__all__ = ["build", "read"]
