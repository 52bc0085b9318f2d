"""What the chapters measure."""

from lib.studies.ladder import By, Ladder

__all__ = ["By", "Ladder"]
