"""Pictures and raw results of a prediction, for both tasks."""

from typing import Optional, Union

import numpy as np
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor

from ..segmentation.visualizer import class_maps, draw_sample, to_picture


def draw(model: BaseModel, inputs: Union[dict[str, Tensor], Tensor], sample: BaseDataElement) -> np.ndarray:
    """Draws what the pipeline packed and the prediction of every branch and of the ensemble.

    Args:
        model: model built by :func:`~cen_mm.apis.init_model`, for the names and colors of the classes.
        inputs: packed inputs of one sample: those that :class:`~cen_mm.apis.InputLoader` returns.
        sample: its result.

    Returns:
        RGB, ``(h, w, 3)`` uint8.
    """
    if isinstance(inputs, dict):
        return draw_sample(inputs, sample, model.dataset_meta)
    from ..translation.results_hook import draw_strip  # imports MMagic, which segmentation does not need

    return draw_strip(inputs, sample)


def to_arrays(sample: BaseDataElement) -> dict[str, np.ndarray]:
    """Returns the result of every branch and, last, of the ensemble.

    Returns:
        For segmentation class indices ``(H, W)`` uint8, for translation RGB images ``(H, W, 3)`` uint8.
    """
    if 'branches' not in sample:
        return {name: classes[0].byte().cpu().numpy() for name, classes in class_maps(sample).items()}
    from ..translation.results_hook import to_rgb

    return {name: to_rgb(image) for name, image in sample.branches.items()}


def draw_inputs(inputs: Union[dict[str, Tensor], Tensor], names: list[str]) -> dict[str, np.ndarray]:
    """Draws packed inputs, {name: ``(C, H, W)``} or ``(3M, H, W)`` in [-1, 1], as RGB ``(H, W, 3)`` uint8."""
    if isinstance(inputs, dict):
        return {name: to_picture(inputs[name], bgr=name == 'rgb') for name in names}
    from ..translation.results_hook import to_rgb

    return {name: to_rgb(image) for name, image in zip(names, inputs.chunk(len(names)))}


def draw_target(sample: BaseDataElement) -> Optional[np.ndarray]:
    """Returns the label ``(H, W)`` or the target image ``(H, W, 3)``, uint8, of a sample, if it has one."""
    if 'gt_sem_seg' in sample:
        return sample.gt_sem_seg.data[0].byte().cpu().numpy()
    if 'gt_img' not in sample:
        return None
    from ..translation.results_hook import to_rgb

    return to_rgb(sample.gt_img)
