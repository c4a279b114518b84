"""Channel exchanging networks (CEN, NeurIPS 2020) as a plugin for mmsegmentation and MMagic."""

from . import (
    compat,  # noqa: F401  patches the stack, so it comes before anything that imports mmseg
    registry,  # noqa: F401
)

__version__ = '0.1.0'
