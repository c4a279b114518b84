"""Predicting from many images: batches, folders, pictures and raw results."""

import time
from itertools import groupby
from pathlib import Path
from typing import Any, Callable, Iterator, Optional, Sequence, Union

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.infer import BaseInferencer
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from mmengine.utils import ProgressBar

from .drawing import draw, to_arrays
from .inference import init_model, predict
from .inputs import Image, InputLoader, Inputs, list_inputs, select_modalities


class MultimodalInferencer(BaseInferencer):
    """Predicts from the images of several modalities, for segmentation and translation.

    Example::

        inferencer = MultimodalInferencer('config.py', 'epoch_15.pth')
        inferencer(dict(rgb='rgb', depth='depth/{}_depth.png'), batch_size=4, out_dir='out')

    The images pass the test pipeline of the config, without labels, and the results equal those of ``tools/test.py``.

    Args:
        model: config (a path, ``'cen_mm::NAME'``, or a Config), or a model built by :func:`~cen_mm.apis.init_model`.
        weights: path or URL of the checkpoint, if ``model`` is a config.
        device: device of the model. None: the GPU if there is one.
        show_progress: whether to show a progress bar and, at the end, the number of samples per second.

    Raises:
        ValueError: if a built model is given with ``weights`` or ``device``.
    """

    def __init__(
        self,
        model: Union[str, Path, Config, BaseModel],
        weights: Union[str, Path, None] = None,
        device: Optional[str] = None,
        show_progress: bool = True,
    ):
        if not isinstance(model, BaseModel):
            model = init_model(model, weights, device)
        elif weights is not None or device is not None:
            raise ValueError('The model is built already: call model.to(device), and leave out weights and device.')
        self._built = model
        self._num_samples = 0  # so that the arrays of each call have other names
        super().__init__(model.cfg, device=device, show_progress=show_progress)

    def _init_model(self, cfg: Config, weights: Optional[str], device: str = 'cpu') -> BaseModel:
        return self._built

    def _init_pipeline(self, cfg: Config) -> InputLoader:
        return InputLoader(cfg)

    def _init_collate(self, cfg: Config) -> Callable:
        return pseudo_collate

    def _init_visualizer(self, cfg: Config) -> None:
        return None  # draw() needs none

    def __call__(
        self,
        inputs: Inputs,
        return_datasamples: bool = False,
        batch_size: int = 1,
        return_vis: bool = False,
        out_dir: Union[str, Path, None] = None,
        available_modalities: Optional[Sequence[str]] = None,
    ) -> dict[str, list]:
        """Predicts from all inputs.

        Args:
            inputs: an image (path or array) per modality; a folder or path pattern per modality, such as
                ``dict(rgb='rgb', depth='depth/{}_depth.png')``, where ``{}`` stands for the name that all files of a
                sample share; or a list of dicts with an image per modality. A modality that is left out is missing.
                Arrays are in the data type and the units of the files, color in the order red, green, blue.
            return_datasamples: whether to return whole results, on the CPU, instead of arrays.
            batch_size: largest number of samples per forward pass. Samples of different sizes are never in one batch.
            return_vis: whether to return the pictures.
            out_dir: folder for the results; it is created. ``vis/NAME.png`` shows inputs and predictions,
                ``pred/BRANCH/NAME.png`` contains the class indices or the generated image of each branch and of the
                ensemble. NAME is explained in :func:`~cen_mm.apis.inputs.list_inputs`.
            available_modalities: modalities to use; others are ignored. None: all in ``inputs``.

        Returns:
            ``predictions``, for each sample a dict {branch: class indices ``(H, W)`` or RGB image ``(H, W, 3)``,
            uint8} or, with ``return_datasamples``, the result of :func:`~cen_mm.apis.inference_model`; and
            ``visualization``, RGB pictures ``(h, w, 3)``. With ``out_dir`` and without ``return_datasamples``,
            ``predictions`` contains the paths of the files instead, so that folders of any size fit in memory.

        Raises:
            FileNotFoundError: if a file does not exist. All files are checked first.
            ValueError: if ``batch_size`` is below 1, or an image does not match the settings of the config's test data
                set or another image.
        """
        if batch_size < 1:
            raise ValueError(f'batch_size is {batch_size}: give a number of at least 1.')
        samples = [
            (name, select_modalities(images, self.model, available_modalities))
            for name, images in list_inputs(inputs, self._num_samples)
        ]
        self._num_samples += len(samples)
        self._tell_missing(samples)
        results: dict[str, list] = dict(predictions=[], visualization=[])
        bar = ProgressBar(len(samples)) if self.show_progress else None
        seconds, start = [], time.perf_counter()
        try:
            for batch in self.preprocess(samples, batch_size):
                before = time.perf_counter()
                predictions = self.forward(batch, keep_logits=return_datasamples)
                seconds.append((time.perf_counter() - before) / len(predictions))
                pictures = self.visualize(batch['inputs'], predictions) if return_vis or out_dir else []
                results['predictions'] += self.postprocess(predictions, pictures, return_datasamples, out_dir)
                results['visualization'] += pictures if return_vis else []
                if bar:
                    bar.update(len(predictions))
        finally:
            if bar:
                print()  # ends the line of the progress bar, also before an error message
        if bar:
            rate = len(samples) / (time.perf_counter() - start)
            network = 1 / np.mean(seconds[1:] or seconds)  # the first forward pass is slower
            print(f'FPS: {rate:.1f} with reading and writing, {network:.1f} for the network alone')
        return results

    def _tell_missing(self, samples: list) -> None:
        missing = [name for name in self.model.modalities if not all(name in images for _, images in samples)]
        if missing and self.show_progress:
            print(f'Not all samples have {", ".join(missing)}: they are predicted from the other modalities.')

    def preprocess(
        self, inputs: list[tuple[str, dict[str, Image]]], batch_size: int = 1, **kwargs: Any
    ) -> Iterator[dict]:
        """Reads the images and yields batches of samples of the same size and modalities."""
        packed = (self.pipeline(images, name) for name, images in inputs)
        for _, group in groupby(packed, lambda item: _shape(item['data_samples'])):
            yield from map(self.collate_fn, self._get_chunk_data(group, batch_size))

    def forward(self, inputs: dict, keep_logits: bool = True, **kwargs: Any) -> list[BaseDataElement]:
        """Runs the model on a batch and returns one result per sample, on the CPU."""
        results = predict(self.model, inputs)
        for sample in results:
            if not keep_logits and 'seg_logits' in sample:
                del sample.seg_logits  # large; not copied from the GPU
            if 'branches' in sample:  # a dict, which BaseDataElement.cpu leaves where it is
                sample.branches = {name: image.cpu() for name, image in sample.branches.items()}
        return [sample.cpu() for sample in results]

    def visualize(
        self, inputs: Any, preds: list[BaseDataElement], show: bool = False, **kwargs: Any
    ) -> list[np.ndarray]:
        """Draws the samples of a batch; ``inputs`` are those of the batch."""
        if isinstance(inputs, dict):
            inputs = [dict(zip(inputs, images)) for images in zip(*inputs.values())]
        return [draw(self.model, images, sample) for images, sample in zip(inputs, preds)]

    def postprocess(
        self,
        preds: list[BaseDataElement],
        visualization: list[np.ndarray],
        return_datasample: bool = False,
        out_dir: Union[str, Path, None] = None,
        **kwargs: Any,
    ) -> list:
        """Writes the results of a batch to ``out_dir``, and returns what ``predictions`` contains for it."""
        arrays = [to_arrays(sample) for sample in preds]
        if out_dir is None:
            return preds if return_datasample else arrays
        paths = []
        for sample, images, picture in zip(preds, arrays, visualization):
            name = f'{sample.sample_name}.png'
            _write(Path(out_dir, 'vis', name), picture)
            paths.append({branch: str(Path(out_dir, 'pred', branch, name)) for branch in images})
            for branch, image in images.items():
                _write(Path(paths[-1][branch]), image)
        return preds if return_datasample else paths


def _shape(sample: BaseDataElement) -> tuple:
    return sample.modalities, tuple(sample.img_shape)


def _write(path: Path, image: np.ndarray) -> None:
    """Writes class indices ``(H, W)`` or an RGB image ``(H, W, 3)`` as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image):
        raise OSError(f'{path} cannot be written: check the free disk space and the permissions.')
