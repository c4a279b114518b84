"""One picture that shows some rooms in every form they are written in."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from .classes import PALETTE
from .modalities import DOMAINS, EDGE_OCCLUSION_MAX, EDGE_TEXTURE_MAX

FAR = 6.0  # metres, the red end of the depths


def draw_overview(out: Path, rooms: Iterable[int]) -> None:
    """Writes ``out/overview.png``: a row for each room, a column for each kind of file, read back from ``out``."""
    names = ['rgb', 'mask', 'sensor depth', *DOMAINS[1:]]
    rows = []
    for i in rooms:
        paths = [out / 'nyudv2' / folder / f'{i:06d}.png' for folder in ('rgb', 'masks', 'depth')]
        paths += [out / 'taskonomy' / name / f'point_{i}_view_0_domain_{name}.png' for name in DOMAINS[1:]]
        images = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in paths]
        rows.append(np.hstack([_show(name, image) for name, image in zip(names, images)]))
    width = rows[0].shape[1] // len(names)
    header = np.full((18, rows[0].shape[1], 3), 255, np.uint8)
    for column, name in enumerate(names):
        cv2.putText(header, name, (column * width + 3, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    cv2.imwrite(str(out / 'overview.png'), np.vstack([header, *rows]))


def _show(name: str, image: np.ndarray) -> np.ndarray:
    """Turns a stored image into (H, W, 3) uint8 BGR for the eye."""
    if name == 'mask':
        return PALETTE[image][..., ::-1]
    if 'depth' in name:
        metres = image / (5000 if name == 'sensor depth' else 512)
        colours = cv2.applyColorMap(np.uint8(np.clip(metres / FAR, 0, 1) * 255), cv2.COLORMAP_TURBO)
        return np.where(image[..., None] > 0, colours, 0)
    if name.startswith('edge'):
        image = np.uint8(image / (EDGE_TEXTURE_MAX if name == 'edge_texture' else EDGE_OCCLUSION_MAX) * 255)
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, -1)
