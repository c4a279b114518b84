"""What tools/app.py shows: predictions with all modalities and with some of them, their differences and scores."""

from pathlib import Path
from typing import NamedTuple, Optional, Sequence

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.model import BaseModel
from mmengine.registry import DATASETS
from mmengine.structures import BaseDataElement
from mmseg.evaluation import IoUMetric
from torch import Tensor

from cen_mm.apis import InputLoader, draw_inputs, draw_target, predict, select_modalities, to_arrays

Scores = dict[str, dict[str, float]]  # {branch: {score: value}}


class Comparison(NamedTuple):
    """Results of one sample with all of its modalities, and with those that are switched on.

    Attributes:
        inputs: pictures of all modalities, RGB ``(h, w, 3)`` uint8.
        all_outputs: for each branch and the ensemble class indices ``(H, W)`` or RGB ``(H, W, 3)``, uint8, predicted
            from all modalities.
        outputs: the same from the modalities that are switched on; the same dict if all are.
        target: label ``(H, W)`` or target image ``(H, W, 3)``, uint8. None: the sample has none.
        all_scores: scores of ``all_outputs`` against the target.
        scores: scores of ``outputs`` against the target.
    """

    inputs: dict[str, np.ndarray]
    all_outputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    target: Optional[np.ndarray]
    all_scores: Scores
    scores: Scores


class Comparer:
    """Predicts from samples of the config's test data set, or from the user's files.

    Args:
        model: model built by :func:`cen_mm.apis.init_model`.
    """

    def __init__(self, model: BaseModel):
        self.model = model
        self.load = InputLoader(model.cfg)
        self.samples: Sequence = []
        try:
            self.samples = DATASETS.build(model.cfg.test_dataloader.dataset)
        except (OSError, ValueError) as error:
            print(f'The page takes your images only, because the test data set cannot be read: {error}')

    def list_samples(self) -> list[str]:
        """Returns a title of each sample of the test data set: its index and the name of its first file."""
        paths = [self.samples.get_data_info(i)['modality_paths'] for i in range(len(self.samples))]
        return [f'{i}: {Path(next(iter(images.values()))).stem}' for i, images in enumerate(paths)]

    def read_sample(self, index: int) -> tuple[dict[str, str], BaseDataElement]:
        """Returns the path per modality of a sample of the test data set, and its packed sample."""
        paths = self.samples.get_data_info(index)['modality_paths']
        images = {name: paths[name] for name in self.model.available_modalities}
        return images, self.samples[index]['data_samples']

    def __call__(
        self, images: dict[str, str], switched_on: Sequence[str], target: Optional[BaseDataElement] = None
    ) -> Comparison:
        """Predicts twice if a modality is switched off.

        Args:
            images: path per modality.
            switched_on: names of the modalities to predict from.
            target: packed sample with ``gt_sem_seg`` or ``gt_img``.

        Raises:
            FileNotFoundError: if a file does not exist.
            ValueError: if there is no image, all modalities are switched off, or an image does not match the settings
                of the config or another image.
        """
        images = select_modalities(images, self.model)
        used = {name: image for name, image in images.items() if name in switched_on}
        if not used:
            raise ValueError(f'All images are switched off: switch on {" or ".join(images)}.')
        packed = self.load(images)
        all_outputs = self._predict(packed)
        outputs = all_outputs if used == images else self._predict(self.load(used))
        inputs, picture = draw_inputs(packed['inputs'], list(images)), None if target is None else draw_target(target)
        if picture is not None:  # the label may cover only the center of the images
            for part in (inputs, all_outputs, outputs):
                part.update({name: crop_center(image, picture.shape[:2]) for name, image in part.items()})
        return Comparison(
            inputs,
            all_outputs,
            outputs,
            picture,
            self._score(all_outputs, target),
            self._score(outputs, target),
        )

    def _predict(self, packed: dict) -> dict[str, np.ndarray]:
        return to_arrays(predict(self.model, pseudo_collate([packed]))[0])

    def _score(self, outputs: dict[str, np.ndarray], target: Optional[BaseDataElement]) -> Scores:
        """Computes the scores of the metrics of cen_mm, for one image."""
        if target is None or not ('gt_sem_seg' in target or 'gt_img' in target):
            return {}
        return {name: self._score_one(torch.from_numpy(output), target) for name, output in outputs.items()}

    def _score_one(self, output: Tensor, target: BaseDataElement) -> dict[str, float]:
        if 'gt_sem_seg' in target:
            num_classes = len(self.model.dataset_meta['classes'])
            areas = IoUMetric.intersect_and_union(output, target.gt_sem_seg.data[0], num_classes, ignore_index=255)
            scores = IoUMetric.total_area_to_metrics(*areas)
            return {'mIoU, %': 100 * float(np.nanmean(scores['IoU'])), 'aAcc, %': 100 * float(scores['aAcc'])}
        from cen_mm.translation.metric import score_image, to_bytes  # imports MMagic

        mask = target.mask.bool().expand(3, -1, -1)
        return score_image(output.permute(2, 0, 1), to_bytes(target.gt_img), mask)


def crop_center(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Crops an image ``(H, W, ...)`` to its center of ``size``, as :class:`~cen_mm.datasets.LoadLabels` does."""
    top, left = ((have - want) // 2 for have, want in zip(image.shape, size))
    return image[top : top + size[0], left : left + size[1]]


def spread(outputs: Sequence[np.ndarray]) -> np.ndarray:
    """Computes how much outputs differ in each pixel, ``(H, W)`` from 0 to 1.

    Class indices: 1 where not all are equal. Images: largest difference, mean over the channels.
    """
    stacked = np.stack(outputs)
    if stacked.ndim == 3:
        return (stacked != stacked[0]).any(0).astype(np.float64)
    return np.ptp(stacked, axis=0).mean(-1) / 255
