"""Functions for using trained models in your own code."""

from .drawing import draw, draw_inputs, draw_target, to_arrays
from .export import export_model
from .exported import ExportedModel, ExportError, use_exported
from .inference import inference_model, init_model, predict
from .inferencer import MultimodalInferencer
from .inputs import InputLoader, list_inputs, select_modalities

__all__ = [
    'ExportError',
    'ExportedModel',
    'InputLoader',
    'MultimodalInferencer',
    'draw',
    'draw_inputs',
    'draw_target',
    'export_model',
    'inference_model',
    'init_model',
    'list_inputs',
    'predict',
    'select_modalities',
    'to_arrays',
    'use_exported',
]
