"""Renderer of furnished rooms: a synthetic data set of a few megabytes, generated locally instead of downloaded."""

from .classes import CLASSES
from .writer import render

__all__ = ['CLASSES', 'render']
