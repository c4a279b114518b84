"""Drawing inputs, label and the predictions of all branches into one image per sample."""

import os.path as osp
from typing import Any, Optional, Sequence, Union

import cv2
import mmcv
import numpy as np
from mmengine.dist import master_only
from mmengine.runner import Runner
from mmseg.engine.hooks import SegVisualizationHook
from mmseg.structures import SegDataSample
from mmseg.visualization import SegLocalVisualizer
from torch import Tensor

from ..exchange import ENSEMBLE
from ..registry import HOOKS, VISUALIZERS

TILE_WIDTH = 320  # pixels; smaller tiles are enlarged, so that their titles are readable


def common_folder(dataset: Any) -> str:
    """Returns the innermost folder that contains all images, which the names of results leave out."""
    return osp.commonpath({osp.dirname(dataset.get_data_info(i)['img_path']) for i in range(len(dataset))})


@HOOKS.register_module()
class MultimodalVisualizationHook(SegVisualizationHook):
    """mmseg's visualization hook, which draws the images of the pipeline instead of reading the files again.

    Args:
        out_dir: folder for the images of tests, one subfolder per run, so that a run never overwrites the images of
            another one. The files are named after the images, with their subfolders. None: the images go to the
            visualizer's backends.
        **kwargs: arguments of mmseg's hook.
    """

    def __init__(self, out_dir: Optional[str] = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.out_dir = out_dir
        self.root = ''

    def before_run(self, runner: Runner) -> None:
        """Raises ValueError if another visualizer would draw one image per sample."""
        if self.draw and not isinstance(self._visualizer, MultimodalVisualizer):
            raise ValueError(
                f'The visualizer is {type(self._visualizer).__name__}, which cannot draw several modalities: set '
                "visualizer.type='cen_mm.MultimodalVisualizer', and keep its vis_backends."
            )

    def before_test(self, runner: Runner) -> None:
        """Finds the innermost folder that contains all images, which the names of the files leave out."""
        if self.draw and self.out_dir is not None:
            self.root = common_folder(runner.test_dataloader.dataset)

    # Both methods, because onedl-mmsegmentation has no common one.
    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict, outputs: Sequence[SegDataSample]
    ) -> None:
        self._draw(runner, batch_idx, data_batch, outputs, 'val')

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict, outputs: Sequence[SegDataSample]
    ) -> None:
        self._draw(runner, batch_idx, data_batch, outputs, 'test')

    def _draw(
        self, runner: Runner, batch_idx: int, data_batch: dict, outputs: Sequence[SegDataSample], mode: str
    ) -> None:
        if not self.draw or not self.every_n_inner_iters(batch_idx, self.interval):
            return
        inputs = data_batch['inputs']
        inputs = inputs if isinstance(inputs, dict) else inputs[0]  # test-time augmentation: the first one
        for i, output in enumerate(outputs):
            sample = {name: images[i] for name, images in inputs.items()}
            if self.out_dir is not None and mode == 'test':
                name = osp.splitext(osp.relpath(output.img_path, self.root))[0]
                # In every process, while the visualizer works, and knows the classes, in the main process only.
                canvas = draw_sample(sample, output, runner.test_dataloader.dataset.metainfo)
                mmcv.imwrite(mmcv.rgb2bgr(canvas), osp.join(self.out_dir, runner.timestamp, f'{name}.png'))
                if not self.show:
                    continue
            self._visualizer.add_datasample(
                f'{mode}_{osp.basename(output.img_path)}',
                sample,
                data_sample=output,
                show=self.show,
                wait_time=self.wait_time,
                step=runner.iter,
            )


@VISUALIZERS.register_module()
class MultimodalVisualizer(SegLocalVisualizer):
    """Draws a row with the modalities and the label, a row with the predictions of all branches, and a legend.

    Modalities other than 8-bit color images, such as depth, are drawn in the viridis colormap between their 2nd and
    98th percentile (of the mean over their channels); missing values (0) are black. Unlabeled pixels are black.
    """

    @master_only
    def add_datasample(
        self,
        name: str,
        image: Union[np.ndarray, dict[str, Tensor]],
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
            image: packed images {name: ``(C, H, W)``} of the modalities, or one RGB image ``(H, W, 3)``.
            data_sample: sample with ``gt_sem_seg`` and ``pred_sem_seg``. If its metainfo has ``modalities``, only
                those are drawn.
            draw_gt: whether to draw the label.
            draw_pred: whether to draw the predictions.
            show: whether to open a window instead of writing the image.
            wait_time: seconds until the window closes; 0: until a key is pressed.
            out_file: file to write instead of the backends.
            step: iteration, for the backends.
            with_labels: whether to draw the legend.
        """
        images = image if isinstance(image, dict) else {'image': np.asarray(image).transpose(2, 0, 1)}
        canvas = draw_sample(images, data_sample, self.dataset_meta, draw_gt, draw_pred, with_labels)
        if show:
            self.show(canvas, win_name=name, wait_time=wait_time)
        elif out_file is not None:
            mmcv.imwrite(mmcv.rgb2bgr(canvas), out_file)
        else:
            self.add_image(name, canvas, step)


def draw_sample(
    images: dict[str, Tensor],
    data_sample: Optional[SegDataSample],
    dataset_meta: dict,
    draw_gt: bool = True,
    draw_pred: bool = True,
    with_labels: bool = True,
) -> np.ndarray:
    """Draws one sample.

    Args:
        images: packed images {name: ``(C, H, W)``} of the modalities.
        data_sample: as in :meth:`MultimodalVisualizer.add_datasample`.
        dataset_meta: dict with ``classes`` and ``palette``.
        draw_gt: whether to draw the label.
        draw_pred: whether to draw the predictions.
        with_labels: whether to draw the legend.

    Returns:
        RGB, ``(h, w, 3)`` uint8.
    """
    palette = np.vstack([dataset_meta['palette'], np.zeros((256 - len(dataset_meta['palette']), 3))])
    data_sample = SegDataSample() if data_sample is None else data_sample
    used = data_sample.get('modalities', images)
    tiles = {key: to_picture(tile, bgr=key == 'rgb') for key, tile in images.items() if key in used}
    maps = {}
    if draw_gt and 'gt_sem_seg' in data_sample:
        maps['label'] = data_sample.gt_sem_seg.data
    if draw_pred and 'pred_sem_seg' in data_sample:
        maps.update(class_maps(data_sample))
    maps = {key: value.squeeze(0).cpu().numpy().astype(np.uint8) for key, value in maps.items()}
    shape = next((labels.shape for labels in maps.values()), next(iter(tiles.values())).shape[:2])
    inputs = [title(cv2.resize(tile, shape[::-1]), key) for key, tile in tiles.items()]
    drawn = [title(palette[labels].astype(np.uint8), _map_title(key)) for key, labels in maps.items()]
    num_labels = int('label' in maps)
    canvas = _grid([inputs + drawn[:num_labels], drawn[num_labels:]])
    if with_labels and maps:
        indices = np.unique(np.concatenate([np.unique(labels) for labels in maps.values()]))
        canvas = np.vstack([canvas, _legend(indices, dataset_meta, canvas.shape[1])])
    return canvas


def class_maps(data_sample: SegDataSample) -> dict[str, Tensor]:
    """Returns the predicted class of each pixel, ``(1, H, W)``, for every branch and, last, the ensemble."""
    predictions = data_sample.pred_sem_seg
    branches = filter(predictions.__contains__, data_sample.get('modalities', ()))
    return {**{name: predictions.get(name) for name in branches}, ENSEMBLE: predictions.data}


def _legend(indices: Sequence[int], dataset_meta: dict, width: int) -> np.ndarray:
    """Draws colors and names of the classes with these indices, ``(h, width, 3)``."""
    columns = max(width // 150, 1)
    classes = [i for i in indices if i < len(dataset_meta['classes'])]
    legend = np.full((20 * -(-len(classes) // columns) + 4, width, 3), 255, np.uint8)
    for n, i in enumerate(classes):
        x, y = 150 * (n % columns), 20 * (n // columns)
        cv2.rectangle(legend, (x + 4, y + 6), (x + 16, y + 18), dataset_meta['palette'][i], -1)
        cv2.putText(legend, dataset_meta['classes'][i], (x + 22, y + 17), 0, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    return legend


def to_picture(image: Any, bgr: bool = False) -> np.ndarray:
    """Converts a packed image to a picture.

    Args:
        image: ``(C, H, W)``. 8-bit color is drawn as it is; else the mean over the channels is drawn in viridis
            between its 2nd and 98th percentile, with zeros in black.
        bgr: whether a color image is in BGR order.

    Returns:
        RGB, ``(H, W, 3)`` uint8.
    """
    image = np.asarray(image)
    if len(image) == 3 and image.dtype == np.uint8:
        return np.ascontiguousarray((image[::-1] if bgr else image).transpose(1, 2, 0))
    values = image.astype(np.float32).mean(0)
    valid = values != 0
    low, high = np.percentile(values[valid], (2, 98)) if valid.any() else (0, 1)
    scaled = np.clip((values - low) / max(high - low, 1e-6), 0, 1)
    colored = cv2.applyColorMap((255 * scaled).astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    return mmcv.bgr2rgb(colored * valid[..., None].astype(np.uint8))


def title(image: np.ndarray, text: str) -> np.ndarray:
    """Enlarges the image to a readable width and adds a line of text above it."""
    factor = max(1, -(-TILE_WIDTH // image.shape[1]))
    image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST)
    bar = np.full((24, image.shape[1], 3), 255, np.uint8)
    cv2.putText(bar, text, (4, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([bar, image])


def _map_title(key: str) -> str:
    return key if key == 'label' else f'prediction: {key}'


def _grid(rows: list[list[np.ndarray]]) -> np.ndarray:
    """Arranges tiles of equal shape in rows, which are filled with white; empty rows are left out."""
    columns = max(map(len, rows))
    white = np.full_like(rows[0][0], 255)
    return np.vstack([np.hstack(row + [white] * (columns - len(row))) for row in rows if row])
