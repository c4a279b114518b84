"""Functions for using trained models in your own code."""

from .inference import init_model

__all__ = ['init_model']
