"""Functions for using trained models in your own code."""

from .drawing import draw, to_arrays
from .inference import inference_model, init_model, predict
from .inferencer import MultimodalInferencer
from .inputs import InputLoader, list_inputs, select_modalities

__all__ = [
    'InputLoader',
    'MultimodalInferencer',
    'draw',
    'inference_model',
    'init_model',
    'list_inputs',
    'predict',
    'select_modalities',
    'to_arrays',
]
