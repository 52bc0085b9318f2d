"""Figures, sliders and sentences of the chapters."""
