"""Overview image: some rooms with all their modalities."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from cen_mm.datasets import nyudv2, taskonomy

from .classes import PALETTE

MAX_DEPTH = 6.0  # meters, end of the color map


def draw_overview(out: Path, rooms: Iterable[int]) -> None:
    """Writes ``overview.png`` with one row per room and one column per kind of file.

    Args:
        out: root of the data set. The files are read from it, and the overview is written to it.
        rooms: indices of the rooms to show.
    """
    names = ['rgb', 'mask', 'sensor depth', *taskonomy.MODALITIES[1:]]
    rows = []
    for i in rooms:
        paths = [out / 'nyudv2' / folder / f'{i:06d}.png' for folder in ('rgb', 'masks', 'depth')]
        paths += [
            out / 'taskonomy' / name / f'point_{i}_view_0_domain_{name}.png' for name in taskonomy.MODALITIES[1:]
        ]
        images = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in paths]
        rows.append(np.hstack([_to_bgr(name, image) for name, image in zip(names, images)]))
    width = rows[0].shape[1] // len(names)
    header = np.full((18, rows[0].shape[1], 3), 255, np.uint8)
    for column, name in enumerate(names):
        cv2.putText(header, name, (column * width + 3, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    cv2.imwrite(str(out / 'overview.png'), np.vstack([header, *rows]))


def _to_bgr(name: str, image: np.ndarray) -> np.ndarray:
    """Converts a stored image to BGR for display, ``(H, W, 3)`` uint8."""
    if name == 'mask':
        return PALETTE[image][..., ::-1]
    if 'depth' in name:
        meters = image / (nyudv2 if name == 'sensor depth' else taskonomy).DEPTH_SCALE
        colors = cv2.applyColorMap(np.uint8(np.clip(meters / MAX_DEPTH, 0, 1) * 255), cv2.COLORMAP_TURBO)
        return np.where(image[..., None] > 0, colors, 0)
    if name.startswith('edge'):
        image = np.uint8(image / taskonomy.EDGE_MAX[name] * 255)
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, -1)
