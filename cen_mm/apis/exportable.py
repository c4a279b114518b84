"""The network that is exported: one input per modality, one output per branch, for any size of the images."""

import copy
import inspect
from typing import Mapping, Sequence, Union

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from torch import Tensor, nn

from ..exchange import ENSEMBLE
from .baked_exchange import bake_exchange


class AnySizeAvgPool2d(nn.Module):
    """``nn.AdaptiveAvgPool2d`` as two matrix products, because its export is only valid for the size of the example.

    Args:
        output_size: height and width of the output, or one side.
    """

    def __init__(self, output_size: Union[int, Sequence[int]]):
        super().__init__()
        self.output_size = (output_size, output_size) if isinstance(output_size, int) else tuple(output_size)

    def forward(self, x: Tensor) -> Tensor:
        """Averages ``(B, C, H, W)`` to ``(B, C, *output_size)``."""
        return _multiply(x, *(averaging_weights(n, size, x) for n, size in zip(self.output_size, x.shape[2:])))


def make_pooling_dynamic(model: nn.Module) -> None:
    """Replaces adaptive average pooling, in place. Pooling to 1x1 is exported correctly."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.AdaptiveAvgPool2d) and child.output_size not in (1, (1, 1)):
                setattr(parent, name, AnySizeAvgPool2d(child.output_size))


def averaging_weights(num_bins: int, size: int, like: Tensor) -> Tensor:
    """Weight of each pixel in the averages of ``nn.AdaptiveAvgPool2d`` along one side, ``(num_bins, size)``."""
    bins = torch.arange(num_bins, device=like.device)[:, None]
    pixels = torch.arange(size, device=like.device)
    first, end = bins * size // num_bins, ((bins + 1) * size + num_bins - 1) // num_bins
    return ((pixels >= first) & (pixels < end)).to(like) / (end - first)


def bicubic_weights(out_size: int, size: int, like: Tensor) -> Tensor:
    """Weight of each pixel in torch's bicubic interpolation along one side, ``(out_size, size)``.

    Keys' kernel with a = -0.75; pixels outside repeat the border. ONNX Runtime's own operator is slower than the whole
    network.
    """
    position = (torch.arange(out_size, device=like.device, dtype=like.dtype) + 0.5) * (size / out_size) - 0.5
    pixels = torch.arange(size, device=like.device)
    weights = like.new_zeros(())
    for tap in range(-1, 3):
        index = position.floor() + tap
        t = (position - index).abs()
        near, far = (1.25 * t - 2.25) * t * t + 1, ((-0.75 * t + 3.75) * t - 6) * t + 3
        weight = torch.where(t <= 1, near, far)
        weights = weights + weight[:, None] * (index.clamp(0, size - 1)[:, None] == pixels)
    return weights


def _multiply(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Combines the rows and columns of ``(B, C, H, W)`` with weights ``(h, H)`` and ``(w, W)`` to ``(B, C, h, w)``."""
    return rows @ (x @ columns.T)


class ExportableModel(nn.Module):
    """A trained model with one input per modality and one output per branch: what is exported.

    Args:
        model: CENSegmentor, FusionSegmentor or CENTranslation in eval mode; it is copied.
        preprocesses: whether the inputs are images as the pipeline loads them. False: the inputs are normalized.
        argmax: whether the outputs are class indices. False: logits, resized to the size of the input.
    """

    def __init__(self, model: BaseModel, preprocesses: bool, argmax: bool):
        super().__init__()
        self.model, self.preprocesses, self.argmax = copy.deepcopy(model), preprocesses, argmax
        for name in ('auxiliary_head', 'discriminators'):  # only training needs them
            self.model._modules.pop(name, None)
        bake_exchange(self.model)
        make_pooling_dynamic(self.model)
        self.is_segmentor = hasattr(model, 'encode_decode')
        kind = ('classes' if argmax else 'logits') if self.is_segmentor else 'image'
        names = model.outputs if self.is_segmentor else (*model.available_modalities, ENSEMBLE)
        self.output_names = [f'{name}_{kind}' for name in names]
        # torch.export names the inputs after the arguments of forward.
        names = model.available_modalities
        signature = inspect.Signature([inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in names])

        def forward(**images: Tensor) -> dict[str, Tensor]:
            return self.run(images)

        forward.__signature__ = signature  # type: ignore[attr-defined]
        self.forward = forward

    def run(self, images: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Computes ``{'rgb_logits': .., 'depth_logits': .., 'ensemble_logits': ..}``.

        Args:
            images: images of each modality, ``(B, C, H, W)``.

        Returns:
            Logits ``(B, K, H, W)`` (``_logits``), class indices ``(B, H, W)`` uint8 (``_classes``) or generated images
            ``(B, 3, H, W)`` in [-1, 1] (``_image``), by branch and for the ensemble.
        """
        inputs = self._preprocess(images) if self.preprocesses else torch.cat(list(images.values()), dim=1)
        outputs = tuple(self.model.branches(inputs).values())
        if self.is_segmentor:
            outputs = self._resize(torch.cat(outputs, dim=1), inputs.shape[2:]).chunk(len(outputs), dim=1)
        return dict(zip(self.output_names, map(self._classes, outputs) if self.argmax else outputs))

    def _resize(self, logits: Tensor, size: Sequence[int]) -> Tensor:
        """Resizes logits as :meth:`CENSegmentor.encode_decode` does."""
        mode = self.model.test_cfg.get('interpolation', 'bilinear')
        if mode == 'bicubic':
            return _multiply(logits, *(bicubic_weights(out, n, logits) for out, n in zip(size, logits.shape[2:])))
        return F.interpolate(logits, size, mode=mode, align_corners=self.model.align_corners)

    def _preprocess(self, images: Mapping[str, Tensor]) -> Tensor:
        """Tiles and normalizes as the data preprocessor does; for translation, as ``PackTranslation`` does."""
        if not self.is_segmentor:
            return torch.cat([image.float().expand(-1, 3, -1, -1) for image in images.values()], dim=1) / 127.5 - 1
        pre = self.model.data_preprocessor
        parts = []
        for name, image in images.items():
            ordered = image.flip(1) if name in pre.reversed else image
            parts.append(ordered.float().expand(-1, pre.channels[name], -1, -1))
        return (torch.cat(parts, dim=1) - pre.mean) / pre.std

    def _classes(self, logits: Tensor) -> Tensor:
        if logits.shape[1] == 1:
            return (logits[:, 0].sigmoid() > self.model.decode_head.threshold).to(torch.uint8)
        return logits.argmax(1).to(torch.uint8)
