"""Renders furnished rooms: a data set of a few megabytes that is made where it is needed."""

from .classes import CLASSES
from .writer import render

__all__ = ['CLASSES', 'render']
