"""What a user's own code calls."""

from .inference import init_model

__all__ = ['init_model']
