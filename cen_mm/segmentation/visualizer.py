"""One picture a sample: what went in, what should come out, what each branch says."""

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

TILE_WIDTH = 320  # pixels; smaller images are enlarged to it, so that titles can be read


@VISUALIZERS.register_module()
class MultimodalVisualizer(SegLocalVisualizer):
    """Tiles the modalities and the label in one row, the branches and the ensemble in the next, a legend below.

    Depth (any one-channel modality) is drawn in viridis between its 2nd and 98th percentile; missing values, 0, are
    black. Unlabelled pixels are black.
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
        """Draws one sample, to a window, a file or the backends, as mmseg's visualiser does.

        Args:
            name: of the picture.
            image: RGB ``(H, W, 3)``; drawn if the sample does not tell its modalities' files.
            data_sample: with ``modality_paths`` in its metainfo, ``gt_sem_seg`` and ``pred_sem_seg``.
            draw_gt: whether to draw the label.
            draw_pred: whether to draw the branches and the ensemble.
            show: open a window instead of writing.
            wait_time: seconds that the window stays.
            out_file: write there instead of to the backends.
            step: of the backends.
            with_labels: whether to draw the legend.
        """
        palette = np.vstack([self.dataset_meta['palette'], np.zeros((256 - len(self.dataset_meta['palette']), 3))])
        paths = data_sample.get('modality_paths', {})
        seen = data_sample.get('modalities', paths)
        tiles = {key: read_modality(path) for key, path in paths.items() if key in seen} or {'image': image}
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
        picture = _grid(inputs + drawn, len(inputs) + ('label' in maps))
        if with_labels and maps:
            present = np.unique(np.concatenate([np.unique(labels) for labels in maps.values()]))
            picture = np.vstack([picture, self._legend(present, picture.shape[1])])
        if show:
            self.show(picture, win_name=name, wait_time=wait_time)
        elif out_file is not None:
            mmcv.imwrite(mmcv.rgb2bgr(picture), out_file)
        else:
            self.add_image(name, picture, step)

    def _legend(self, present: Sequence[int], width: int) -> np.ndarray:
        """Colours and names of the classes present, ``(h, width, 3)``."""
        columns = max(width // 150, 1)
        classes = [i for i in present if i < len(self.dataset_meta['classes'])]
        legend = np.full((20 * -(-len(classes) // columns) + 4, width, 3), 255, np.uint8)
        for n, i in enumerate(classes):
            x, y = 150 * (n % columns), 20 * (n // columns)
            cv2.rectangle(legend, (x + 4, y + 6), (x + 16, y + 18), self.dataset_meta['palette'][i], -1)
            cv2.putText(legend, self.dataset_meta['classes'][i], (x + 22, y + 17), 0, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
        return legend


def read_modality(path: str) -> np.ndarray:
    """The file as a picture, RGB ``(H, W, 3)`` uint8; one channel is drawn in viridis, its zeros black."""
    image = cv2.imread(str(Path(path)), cv2.IMREAD_UNCHANGED)
    if image.ndim == 3:
        return mmcv.bgr2rgb(image[..., :3])
    valid = image > 0
    low, high = np.percentile(image[valid], (2, 98)) if valid.any() else (0, 1)
    scaled = np.clip((image - low) / max(high - low, 1e-6), 0, 1)
    coloured = cv2.applyColorMap((255 * scaled).astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    return mmcv.bgr2rgb(coloured * valid[..., None].astype(np.uint8))


def center_crop(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The middle of ``(H, W, 3)``: predictions may be of the label's region alone."""
    top, left = ((have - want) // 2 for have, want in zip(image.shape[:2], shape))
    return image[top : top + shape[0], left : left + shape[1]]


def title(image: np.ndarray, text: str) -> np.ndarray:
    """The image, enlarged to a readable width, under a line of text."""
    factor = max(1, -(-TILE_WIDTH // image.shape[1]))
    image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST)
    bar = np.full((24, image.shape[1], 3), 255, np.uint8)
    cv2.putText(bar, text, (4, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([bar, image])


def _map_title(key: str) -> str:
    return key if key == 'label' else f'prediction: {key}'


def _grid(tiles: list[np.ndarray], columns: int) -> np.ndarray:
    """Tiles of one shape, in rows; the last row is filled up with white."""
    tiles = tiles + [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    return np.vstack([np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)])
