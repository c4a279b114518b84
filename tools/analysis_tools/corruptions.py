"""Corruptions of one modality at test time: missing measurements, noise, blur, misalignment, darkness."""

from typing import NamedTuple

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from cen_mm.registry import TRANSFORMS

AMOUNTS = {
    'dark': (0.5, 0.8, 0.95),
    'holes': (0.2, 0.5, 1.0),
    'noise': (0.2, 0.5, 1.0),
    'blur': (0.005, 0.01, 0.02),
    'shift': (0.01, 0.02, 0.05),
}
"""The amounts of each kind of corruption, see :class:`Corrupt`."""


class Corruption(NamedTuple):
    """A kind of corruption of one modality, and its amount. ``'missing'``: the modality is left out."""

    modality: str
    kind: str
    amount: float

    def __str__(self) -> str:
        return f'{self.modality} {self.kind}' + ('' if self.kind == 'missing' else f' {self.amount:g}')


def list_corruptions(modalities: list[str]) -> list[Corruption]:
    """Lists all corruptions: RGB can be dark, and the other modalities can be shifted against it."""
    corruptions = []
    for name in modalities:
        for kind in AMOUNTS:
            if kind != ('shift' if name == 'rgb' else 'dark'):
                corruptions += [Corruption(name, kind, amount) for amount in AMOUNTS[kind]]
        corruptions.append(Corruption(name, 'missing', 1))
    return corruptions


@TRANSFORMS.register_module()
class Corrupt(BaseTransform):
    """Corrupts one modality, in the same way for every network. Must come directly after LoadModalities.

    Required keys: those that LoadModalities adds, and ``sample_idx``. Modified key: ``img`` for RGB, otherwise the
    name of the modality. A sample without this modality stays as it is.

    Args:
        modality: name of the modality.
        kind: ``'dark'``: the brightness is reduced. ``'holes'``: patches become invalid, black in RGB. ``'noise'``:
            Gaussian noise. ``'blur'``: Gaussian blur. ``'shift'``: the image moves to the right. Invalid pixels are
            neither noisy nor part of the blur.
        amount: dark: share of the brightness that is removed. holes: share of the pixels. noise: its standard
            deviation relative to that of the image. blur: standard deviation, as a share of the image's width. shift:
            share of the width.
    """

    moves_modalities = True  # the label stays where it is

    def __init__(self, modality: str, kind: str, amount: float):
        self.modality = modality
        self.kind = kind
        self.amount = amount

    def transform(self, results: dict) -> dict:
        key = 'img' if self.modality == 'rgb' else self.modality
        if self.modality not in results['modality_settings'] or key not in results:
            return results
        image = results[key]
        settings = results['modality_settings'][self.modality]
        fill = np.asarray(0 if self.modality == 'rgb' else settings.pad_val, np.float32)
        valid = np.ones(image.shape[:2], bool)
        if settings.invalid is not None or np.dtype(settings.dtype).kind == 'f':  # else no pixel can be invalid
            valid = (image != fill).reshape(*valid.shape, -1).any(axis=2)
        rng = np.random.default_rng((results['sample_idx'], list(AMOUNTS).index(self.kind)))
        corrupted = getattr(self, self.kind)(image.astype(np.float32), valid, fill, rng)
        if image.dtype.kind in 'iu':
            corrupted = corrupted.round()
        results[key] = corrupted.astype(image.dtype)
        return results

    def dark(self, image: np.ndarray, valid: np.ndarray, fill: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return image * np.float32(1 - self.amount)

    def holes(self, image: np.ndarray, valid: np.ndarray, fill: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        height, width = image.shape[:2]
        coarse = rng.random((max(2, height // 16), max(2, width // 16)), np.float32)
        smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        image[smooth <= np.quantile(smooth, self.amount)] = fill
        return image

    def noise(self, image: np.ndarray, valid: np.ndarray, fill: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        values = image[valid]
        if not values.size:
            return image
        noise = rng.standard_normal(image.shape, np.float32)[valid] * values.std() * np.float32(self.amount)
        image[valid] = np.clip(values + noise, values.min(), values.max())
        return image

    def blur(self, image: np.ndarray, valid: np.ndarray, fill: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        weight = valid.astype(np.float32)
        mask = weight if image.ndim == 2 else weight[..., None]
        sigma = self.amount * image.shape[1]
        total, blurred = (cv2.GaussianBlur(x, (0, 0), sigma).reshape(x.shape) for x in (weight, image * mask))
        image[valid] = (blurred[valid].T / total[valid]).T
        return image

    def shift(self, image: np.ndarray, valid: np.ndarray, fill: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        pixels = max(1, round(self.amount * image.shape[1]))
        image = np.roll(image, pixels, axis=1)
        image[:, :pixels] = fill
        return image
