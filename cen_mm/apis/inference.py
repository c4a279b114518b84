"""Building a trained model, and predicting from images in files or arrays."""

import copy
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Optional, Sequence, Union

import torch
from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.model import BaseModel, revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import load_checkpoint
from mmengine.structures import BaseDataElement

from ..checkpoint import have_equal_modalities
from ..compat import config_path
from ..segmentation import FusionSegmentor, MultimodalDataPreProcessor
from .exported import SUFFIXES
from .inputs import Image, InputLoader, build_test_dataset, list_inputs, lock_of, select_modalities


def init_model(
    config: Union[str, Path, Config],
    checkpoint: Union[str, Path, None] = None,
    device: Union[str, torch.device, None] = None,
) -> BaseModel:
    """Builds the model of a config in eval mode and loads its weights. Pretrained weights are not downloaded.

    Args:
        config: path of a config file, ``'cen_mm::NAME'`` for a config of this package, or a config.
        checkpoint: path or URL of a checkpoint written by tools/train.py or tools/model_converters/cen_to_mm.py.
            None: the weights are random.
        device: device of the model. None: the GPU if there is one.

    Returns:
        The model; ``model.cfg`` is the config, and ``model.dataset_meta`` has the classes and the palette of the
        checkpoint's data set or, if the checkpoint does not contain them, of the config's test data set.

    Raises:
        FileNotFoundError: if the config or the checkpoint does not exist.
        ValueError: if there is no such device; if the checkpoint cannot be read, belongs to another model, or has
            weights that are not finite; if neither checkpoint nor config knows the classes.
    """
    if str(device).startswith('cuda') and not torch.cuda.is_available():
        raise ValueError(
            f'device={device}, but torch {torch.__version__} finds no GPU: use cpu, or install a torch for CUDA.'
        )
    cfg = config if isinstance(config, Config) else Config.fromfile(config_path(config))
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    model = MODELS.build(_without_downloads(cfg.model))
    meta = {}
    if checkpoint is not None:
        meta = _load_checkpoint(model, str(checkpoint)).get('meta', {})
    model.dataset_meta = meta.get('dataset_meta') or build_test_dataset(cfg).metainfo
    model = revert_sync_batchnorm(model).to(device or get_device()).eval()
    model.cfg = cfg
    return model


def _load_checkpoint(model: BaseModel, path: str) -> dict:
    if Path(path).suffix in SUFFIXES.values():
        raise ValueError(
            f'{path} is an exported model: run tools/test.py with it, or use_exported(init_model(CONFIG), {path!r}).'
        )
    try:
        checkpoint = load_checkpoint(model, path, map_location='cpu', strict=True)
    except FileNotFoundError:
        raise FileNotFoundError(f'The checkpoint {path} does not exist: give the path of a .pth file.') from None
    have_equal_modalities(checkpoint, model)
    return checkpoint


def _without_downloads(model: ConfigDict) -> ConfigDict:
    """Returns a copy of a model config whose timm backbone does not download weights when it is built."""
    model = copy.deepcopy(model)
    part = model
    while part := part.get('backbone', {}):
        if part.get('pretrained') is True:
            part.pretrained = False
    return model


def inference_model(
    model: BaseModel,
    inputs: Union[dict[str, Image], Sequence[dict[str, Image]]],
    available_modalities: Optional[Sequence[str]] = None,
) -> Union[BaseDataElement, list[BaseDataElement]]:
    """Predicts from the images of one sample or of several, one at a time.

    The images pass the test pipeline of the config, without labels, so the results equal those of ``tools/test.py``.

    Args:
        model: model built by :func:`init_model`.
        inputs: path or array per modality, ``dict(rgb='a.png', depth=array)``, or a list of such dicts. Arrays are in
            the data type and the units of the files, color in the order red, green, blue. A modality that is left out
            is missing.
        available_modalities: modalities to use; others are ignored. None: all in ``inputs``.

    Returns:
        For segmentation, mmseg's ``SegDataSample``: ``pred_sem_seg`` and ``seg_logits`` have the fields ``data``, the
        ensemble, and the name of each modality, its branch. For translation, MMagic's ``DataSample``: ``fake_img``,
        the image of the ensemble in [-1, 1], ``(3, H, W)``, and ``branches``, the dict of all images. A list of them
        if ``inputs`` is a list.

    Raises:
        FileNotFoundError: if a file does not exist, or is a folder (use :class:`MultimodalInferencer`).
        ValueError: if an image does not match the settings of the config's test data set or another image.
    """
    load = InputLoader(model.cfg)
    listed = list_inputs([inputs] if isinstance(inputs, dict) else inputs)  # a folder is refused, not listed
    samples = [load(select_modalities(images, model, available_modalities), name) for name, images in listed]
    results = [predict(model, pseudo_collate([sample]))[0] for sample in samples]
    return results[0] if isinstance(inputs, dict) else results


@torch.no_grad()
def predict(model: BaseModel, batch: dict) -> list[BaseDataElement]:
    """Runs a model on a batch, with the modalities that it contains. Threads that share a model take turns.

    Args:
        model: model built by :func:`init_model`.
        batch: collated samples of an :class:`~cen_mm.apis.InputLoader`, all of the same size and modalities.

    Returns:
        One result per sample, as in :func:`inference_model`.

    Raises:
        ValueError: if the model needs a modality that is missing, or is in training mode.
    """
    if model.training:
        raise ValueError('The model is in training mode, with dropout and statistics of the batch: call model.eval().')
    with lock_of(model), _available(model, batch['data_samples'][0].modalities):
        return model.test_step(batch)


@contextmanager
def _available(model: BaseModel, names: Sequence[str]) -> Iterator[None]:
    """Makes a built model accept only those of its modalities that are in ``names``, while the context is active."""
    before = model.available_modalities, model.data_preprocessor
    names = tuple(name for name in model.modalities if name in names)
    if names == before[0]:
        yield
        return
    if isinstance(model, FusionSegmentor) or hasattr(model, 'exported'):
        kind = 'FusionSegmentor' if isinstance(model, FusionSegmentor) else f'The exported model {model.exported}'
        raise ValueError(f'{kind} needs every modality: give images of {", ".join(before[0])}.')
    try:
        model.available_modalities = names
        if isinstance(before[1], MultimodalDataPreProcessor):
            model.data_preprocessor = before[1].subset(names)
        yield
    finally:
        model.available_modalities, model.data_preprocessor = before
