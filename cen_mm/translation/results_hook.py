"""Hook that writes the images of every evaluation."""

import os
import shutil
from pathlib import Path
from typing import Optional, Sequence

import cv2
import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.dist import barrier, master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from torch import Tensor

from ..exchange import ENSEMBLE
from ..registry import HOOKS
from .metric import to_bytes

CAPTION_HEIGHT = 16  # pixels above each image of a strip
MIN_WIDTH = 128  # narrower images are enlarged to at least this width in a strip, in pixels


@HOOKS.register_module()
class ResultsHook(Hook):
    """Writes the images of every evaluation as PNG files, and keeps a copy of the best ones.

    Each evaluation of a run overwrites the images of the previous one; another run has its own folder. The layout is
    the authors'; the last ``fake`` folder contains the images of the ensemble::

        results
        ├── input0, input1, ..      input images of each modality; files are named after those of the target, if any
        ├── fake0, fake1, fake2     generated images of each branch and of the ensemble
        ├── real                    target images
        ├── best                    the fake folders of the best checkpoint, as chosen by CheckpointHook's save_best
        └── strips                  all of these side by side in one image, with captions

    If the target's files are in several folders, such as one per building, the images are in the same subfolders.

    Args:
        out_dir: output folder; a relative path is relative to the folder of the run's log.
        strip_dir: output folder of the strips, with a subfolder per run. None: ``strips`` in ``out_dir``.
        show: whether to show each strip in a window.
        wait_time: time to show each window, in seconds.
    """

    priority = 'LOWEST'  # after CheckpointHook, which updates the best score

    def __init__(
        self, out_dir: str = 'results', strip_dir: Optional[str] = None, show: bool = False, wait_time: float = 0
    ):
        self.out_dir = out_dir
        self.strip_dir = strip_dir
        self.show = show
        self.wait_time = wait_time
        self.best: dict[str, float] = {}

    def before_run(self, runner: Runner) -> None:
        self.out = Path(runner.log_dir, self.out_dir)
        self.strips = Path(self.strip_dir, runner.timestamp) if self.strip_dir else self.out / 'strips'

    def before_train(self, runner: Runner) -> None:
        """Reads the best score so far, which a resumed run has loaded by now."""
        self.best = _best_scores(runner)

    def before_val(self, runner: Runner) -> None:
        self._find_root(runner.val_dataloader.dataset)

    def before_test(self, runner: Runner) -> None:
        self._find_root(runner.test_dataloader.dataset)

    def _find_root(self, dataset: BaseDataset) -> None:
        """Finds the innermost folder that contains the images after which the files are named."""
        folders = {os.path.dirname(named_after(dataset.get_data_info(i))) for i in range(len(dataset))}
        self.root = os.path.commonpath(folders)

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict, outputs: Sequence[BaseDataElement]
    ) -> None:
        """Writes the images of the batch."""
        for inputs, sample in zip(data_batch['inputs'], outputs):
            folders = {f'input{i}': image for i, image in enumerate(inputs.chunk(len(sample.modalities)))}
            folders.update({f'fake{i}': image for i, image in enumerate(sample.branches.values())})
            if 'gt_img' in sample:
                folders['real'] = sample.gt_img
            path = named_after(sample.metainfo)
            name = str(Path(os.path.relpath(path, self.root)).with_suffix('.png'))
            for folder, image in folders.items():
                _write(self.out / folder / name, to_rgb(image))
            strip = draw_strip(inputs, sample)
            _write(self.strips / name, strip)
            if self.show:
                runner.visualizer.show(strip, name, self.wait_time)

    after_test_iter = after_val_iter

    def after_val_epoch(self, runner: Runner, metrics: Optional[dict] = None) -> None:
        """Copies the images if the checkpoint of this evaluation is the best so far."""
        barrier()
        best = _best_scores(runner)
        for name in best:
            if best[name] != self.best.get(name):
                self._save_best(name)
        self.best = best

    @master_only
    def _save_best(self, name: str) -> None:
        for folder in self.out.glob('fake*'):
            shutil.copytree(folder, self.out / name / folder.name, dirs_exist_ok=True)


def named_after(info: dict) -> str:
    """Path of the target or, without one, of the first input."""
    return info.get('target_path') or next(iter(info['modality_paths'].values()))


def _best_scores(runner: Runner) -> dict[str, float]:
    """Best scores so far, by the folder of their images: ``best``, or ``best_SCORE`` if save_best is a list."""
    info = runner.message_hub.runtime_info
    return {
        key.replace('best_score', 'best').replace('/', '_'): value
        for key, value in info.items()
        if key.startswith('best_score')
    }


def draw_strip(inputs: Tensor, sample: BaseDataElement) -> np.ndarray:
    """Draws the images of one sample side by side, with captions: inputs, every branch, ensemble, and the target.

    Args:
        inputs: input images in [-1, 1], ``(3M, H, W)``.
        sample: sample with ``modalities``; branches and target are drawn if there are ``branches`` and ``gt_img``.

    Returns:
        RGB, ``(h, w, 3)`` uint8.
    """
    images = dict(zip(sample.modalities, inputs.chunk(len(sample.modalities))))
    images.update(
        {name if name == ENSEMBLE else f'from {name}': image for name, image in sample.get('branches', {}).items()}
    )
    if 'gt_img' in sample:
        images[f'target: {sample.target}'] = sample.gt_img
    return np.hstack([_add_caption(image, text) for text, image in images.items()])


def to_rgb(image: Tensor) -> np.ndarray:
    """Converts an RGB image ``(3, H, W)`` in [-1, 1] to ``(H, W, 3)`` uint8."""
    return np.ascontiguousarray(to_bytes(image).permute(1, 2, 0).cpu().numpy())


def _add_caption(image: Tensor, text: str) -> np.ndarray:
    """Adds a caption above an image ``(3, H, W)`` in [-1, 1], which is enlarged if it is narrow."""
    picture = to_rgb(image)
    picture = picture.repeat(factor := -(-MIN_WIDTH // picture.shape[1]), 0).repeat(factor, 1)
    picture = cv2.copyMakeBorder(picture, CAPTION_HEIGHT, 2, 2, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    return cv2.putText(picture, text, (4, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (0, 0, 0), 1, cv2.LINE_AA)


def _write(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), picture[..., ::-1]):
        raise OSError(f'The image {path} cannot be written: check the free disk space and the permissions.')
