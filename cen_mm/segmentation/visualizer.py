"""Drawing inputs, label and the predictions of all branches into one image per sample."""

from pathlib import Path
from typing import Optional, Sequence

import cv2
import mmcv
import numpy as np
from mmengine.dist import master_only
from mmseg.structures import SegDataSample
from mmseg.visualization import SegLocalVisualizer

from ..exchange import ENSEMBLE
from ..registry import VISUALIZERS

TILE_WIDTH = 320  # pixels; smaller tiles are enlarged, so that their titles are readable


@VISUALIZERS.register_module()
class MultimodalVisualizer(SegLocalVisualizer):
    """Draws a row with the modalities and the label, a row with the predictions of all branches, and a legend.

    Modalities with one channel, such as depth, are drawn in the viridis colormap between their 2nd and 98th
    percentile; missing values (0) are black. Unlabeled pixels are black.
    """

    @master_only
    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample: Optional[SegDataSample] = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0,
        out_file: Optional[str] = None,
        step: int = 0,
        with_labels: bool = True,
    ) -> None:
        """Draws one sample in a window, into a file or into the backends, as mmseg's visualizer does.

        Args:
            name: name of the image.
            image: RGB, ``(H, W, 3)``; drawn if the sample has no paths of its modalities.
            data_sample: sample with ``modality_paths`` in its metainfo, ``gt_sem_seg`` and ``pred_sem_seg``.
            draw_gt: whether to draw the label.
            draw_pred: whether to draw the predictions.
            show: whether to open a window instead of writing the image.
            wait_time: seconds until the window closes; 0: until a key is pressed.
            out_file: file to write instead of the backends.
            step: iteration, for the backends.
            with_labels: whether to draw the legend.
        """
        palette = np.vstack([self.dataset_meta['palette'], np.zeros((256 - len(self.dataset_meta['palette']), 3))])
        paths = data_sample.get('modality_paths', {})
        used = data_sample.get('modalities', paths)
        tiles = {key: read_modality(path) for key, path in paths.items() if key in used} or {'image': image}
        maps = {}
        if draw_gt and 'gt_sem_seg' in data_sample:
            maps['label'] = data_sample.gt_sem_seg.data
        if draw_pred and 'pred_sem_seg' in data_sample:
            predictions = data_sample.pred_sem_seg
            branches = filter(predictions.__contains__, data_sample.get('modalities', ()))
            maps.update({name: predictions.get(name) for name in branches})
            maps[ENSEMBLE] = predictions.data
        maps = {key: value.squeeze(0).cpu().numpy().astype(np.uint8) for key, value in maps.items()}
        shape = next((labels.shape for labels in maps.values()), image.shape[:2])
        inputs = [title(center_crop(tile, shape), key) for key, tile in tiles.items()]
        drawn = [title(palette[labels].astype(np.uint8), _map_title(key)) for key, labels in maps.items()]
        canvas = _grid(inputs + drawn, len(inputs) + ('label' in maps))
        if with_labels and maps:
            indices = np.unique(np.concatenate([np.unique(labels) for labels in maps.values()]))
            canvas = np.vstack([canvas, self._legend(indices, canvas.shape[1])])
        if show:
            self.show(canvas, win_name=name, wait_time=wait_time)
        elif out_file is not None:
            mmcv.imwrite(mmcv.rgb2bgr(canvas), out_file)
        else:
            self.add_image(name, canvas, step)

    def _legend(self, indices: Sequence[int], width: int) -> np.ndarray:
        """Draws colors and names of the classes with these indices, ``(h, width, 3)``."""
        columns = max(width // 150, 1)
        classes = [i for i in indices if i < len(self.dataset_meta['classes'])]
        legend = np.full((20 * -(-len(classes) // columns) + 4, width, 3), 255, np.uint8)
        for n, i in enumerate(classes):
            x, y = 150 * (n % columns), 20 * (n // columns)
            cv2.rectangle(legend, (x + 4, y + 6), (x + 16, y + 18), self.dataset_meta['palette'][i], -1)
            cv2.putText(legend, self.dataset_meta['classes'][i], (x + 22, y + 17), 0, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
        return legend


def read_modality(path: str) -> np.ndarray:
    """Reads a file as an RGB image ``(H, W, 3)`` uint8; one channel is drawn in viridis, with zeros in black."""
    image = cv2.imread(str(Path(path)), cv2.IMREAD_UNCHANGED)
    if image.ndim == 3:
        return mmcv.bgr2rgb(image[..., :3])
    valid = image > 0
    low, high = np.percentile(image[valid], (2, 98)) if valid.any() else (0, 1)
    scaled = np.clip((image - low) / max(high - low, 1e-6), 0, 1)
    colored = cv2.applyColorMap((255 * scaled).astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    return mmcv.bgr2rgb(colored * valid[..., None].astype(np.uint8))


def center_crop(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Crops the center of ``(H, W, 3)``, because predictions may cover the region of the label only."""
    top, left = ((have - want) // 2 for have, want in zip(image.shape[:2], shape))
    return image[top : top + shape[0], left : left + shape[1]]


def title(image: np.ndarray, text: str) -> np.ndarray:
    """Enlarges the image to a readable width and adds a line of text above it."""
    factor = max(1, -(-TILE_WIDTH // image.shape[1]))
    image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST)
    bar = np.full((24, image.shape[1], 3), 255, np.uint8)
    cv2.putText(bar, text, (4, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([bar, image])


def _map_title(key: str) -> str:
    return key if key == 'label' else f'prediction: {key}'


def _grid(tiles: list[np.ndarray], columns: int) -> np.ndarray:
    """Arranges tiles of equal shape in rows; the last row is filled with white."""
    tiles = tiles + [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    return np.vstack([np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)])
