"""Functions for using trained models in your own code."""

from .export import export_model
from .exported import ExportedModel, ExportError, use_exported
from .inference import init_model

__all__ = ['ExportError', 'ExportedModel', 'export_model', 'init_model', 'use_exported']
