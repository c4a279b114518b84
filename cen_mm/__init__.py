"""Channel exchanging networks (CEN, NeurIPS 2020) as a plugin for mmsegmentation and MMagic."""

from . import (
    compat,  # noqa: F401  makes the stack importable, so it comes before anything that imports mmseg
    registry,  # noqa: F401
)
from .compat import config_argument, config_path

__all__ = ['config_argument', 'config_path']

__version__ = '0.3.0.dev0'
