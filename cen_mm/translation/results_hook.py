"""Writes what every evaluation makes, as images."""

import shutil
from pathlib import Path
from typing import Optional, Sequence

import cv2
import numpy as np
from mmengine.dist import barrier, master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from torch import Tensor

from ..registry import HOOKS
from .metric import to_bytes

CAPTION, WIDTH = 16, 128  # of a strip: pixels above each image, and its least width


@HOOKS.register_module()
class ResultsHook(Hook):
    """Writes the images of every evaluation over those of the one before, and keeps the best.

    Layout, the authors'; ``fake`` with the last number is the ensemble's::

        results
        ├── input0, input1, ..      one PNG an image, named as the target's file
        ├── fake0, fake1, fake2     each branch, and the ensemble
        ├── real                    the target
        ├── best                    the fakes of the best checkpoint: CheckpointHook's save_best names score and branch
        └── strips                  all of an image side by side, with their names

    Args:
        out_dir: where to write; a relative path is within the work directory.
        strip_dir: where the strips go instead.
        show: show each strip in a window.
        wait_time: seconds that the window stays.
    """

    priority = 'LOWEST'  # after the checkpoint, which says whether it is the best

    def __init__(
        self, out_dir: str = 'results', strip_dir: Optional[str] = None, show: bool = False, wait_time: float = 0
    ):
        self.out_dir = out_dir
        self.strip_dir = strip_dir
        self.show = show
        self.wait_time = wait_time
        self.best = None

    def before_run(self, runner: Runner) -> None:
        self.out = Path(runner.work_dir, self.out_dir)
        self.strips = Path(self.strip_dir or self.out / 'strips')

    def before_train(self, runner: Runner) -> None:
        """A resumed run knows its best score by now."""
        self.best = runner.message_hub.get_info('best_score', None)

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict, outputs: Sequence[BaseDataElement]
    ) -> None:
        """Writes the batch."""
        for inputs, sample in zip(data_batch['inputs'], outputs):
            modalities = sample.modalities
            folders = {f'input{i}': image for i, image in enumerate(inputs.chunk(len(modalities)))}
            folders.update({f'fake{i}': image for i, image in enumerate(sample.branches.values())})
            folders['real'] = sample.gt_img
            name = Path(sample.target_path).with_suffix('.png').name
            for folder, image in folders.items():
                _write(self.out / folder / name, _to_bgr(image))
            captions = (*modalities, *(f'from {m}' for m in modalities), 'ensemble', f'target: {sample.target}')
            strip = np.hstack([_captioned(image, text) for image, text in zip(folders.values(), captions)])
            _write(self.strips / name, strip)
            if self.show:
                runner.visualizer.show(strip[..., ::-1], name, self.wait_time)

    after_test_iter = after_val_iter

    def after_val_epoch(self, runner: Runner, metrics: Optional[dict] = None) -> None:
        """Keeps the images if the checkpoint of this evaluation is the best so far."""
        barrier()
        best = runner.message_hub.get_info('best_score', None)
        if best != self.best:
            self.best = best
            self._keep()

    @master_only
    def _keep(self) -> None:
        for folder in self.out.glob('fake*'):
            shutil.copytree(folder, self.out / 'best' / folder.name, dirs_exist_ok=True)


def _to_bgr(image: Tensor) -> np.ndarray:
    """``(3, H, W)`` in [-1, 1] to ``(H, W, 3)`` uint8, as OpenCV writes it."""
    return np.ascontiguousarray(to_bytes(image).flip(0).permute(1, 2, 0).cpu().numpy())


def _captioned(image: Tensor, text: str) -> np.ndarray:
    """The image under its name, enlarged if it is small."""
    picture = _to_bgr(image)
    picture = picture.repeat(times := -(-WIDTH // picture.shape[1]), 0).repeat(times, 1)
    picture = cv2.copyMakeBorder(picture, CAPTION, 2, 2, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    return cv2.putText(picture, text, (4, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (0, 0, 0), 1, cv2.LINE_AA)


def _write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), image):
        raise OSError(f'{path} cannot be written: free some space, or choose another out_dir.')
