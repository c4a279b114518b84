"""Reading the images of the user, in files or arrays, as the test pipeline of a config reads its data set."""

import os
import threading
from pathlib import Path
from typing import Any, Optional, Sequence, Union
from weakref import WeakKeyDictionary

import numpy as np
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.model import BaseModel
from mmengine.registry import DATASETS

from ..datasets.files import common_names
from ..datasets.modality import ArrayInput
from ..engine.samples import base_datasets
from ..exchange import check_available_modalities

Image = Union[str, Path, np.ndarray]
Inputs = Union[dict[str, Image], Sequence[dict[str, Image]]]

# Of the files in a folder
SUFFIXES = ('.png', '.jpg', '.jpeg', '.tif', '.tiff', '.bmp', '.webp', '.ppm', '.pgm', '.jp2', '.npy', '.npz')


_locks: WeakKeyDictionary = WeakKeyDictionary()  # an attribute of the model could not be copied
_locks_lock = threading.Lock()


def lock_of(model: BaseModel) -> threading.RLock:
    """Returns the lock of a model: while it predicts, its ``available_modalities`` are those of the images."""
    with _locks_lock:
        return _locks.setdefault(model, threading.RLock())


def build_test_dataset(cfg: Config) -> BaseDataset:
    """Builds the (first) test data set of a config without reading its files; it has no samples.

    Raises:
        ValueError: if the config has none.
    """
    if not cfg.get('test_dataloader'):
        raise ValueError(
            'The config has no test_dataloader, whose data set knows the classes and how images are prepared: add it.'
        )
    empty = dict(lazy_init=True, serialize_data=False, indices=None, filter_cfg=None)
    dataset = DATASETS.build({**next(base_datasets(cfg.test_dataloader.dataset)), **empty})
    dataset.load_data_list = list
    dataset.full_init()
    return dataset


def list_inputs(inputs: Inputs, start: int = 0) -> list[tuple[str, dict[str, Image]]]:
    """Lists the samples in the user's inputs.

    Args:
        inputs: an image per modality, ``dict(rgb='a.png', depth=array)``; or a folder or path pattern per modality,
            ``dict(rgb='rgb', depth='depth/{}.png')``, where ``{}`` stands for the name that all files of a sample
            share; or a list of dicts with an image per modality.
        start: number of the first sample, for the names of samples that are arrays.

    Returns:
        For each sample a unique name, and its images {modality: path or array}.
        The name is that of the file of RGB, or else of the first modality; for folders, the part that all files share;
        for arrays, the number of the sample.

    Raises:
        FileNotFoundError: if a folder does not exist or has no images, or the folders have no common name.
        ValueError: if there are no inputs, an input is not a dict, folders and images are mixed, or a folder has
            files of several types.
    """
    if isinstance(inputs, dict):
        folders = {name for name, image in inputs.items() if _is_folder(image)}
        if folders:
            for name in set(inputs) - folders:
                raise ValueError(
                    f'{min(folders)} is a folder or pattern, but {name} is not ({_describe(inputs[name])}): give '
                    'existing folders or patterns for all modalities, or one image for each.'
                )
            return _list_folders({name: str(image) for name, image in inputs.items()})
    if isinstance(inputs, dict) or not isinstance(inputs, Sequence):
        inputs = [inputs]
    if not inputs:
        raise ValueError('The list of inputs is empty: give at least one dict with an image per modality.')
    samples: dict[str, dict[str, Image]] = {}
    for i, images in enumerate(inputs, start):
        if not isinstance(images, dict):
            raise ValueError(
                f'An input is a {type(images).__name__}: give a dict with an image per modality, such as '
                "dict(rgb='a.png', depth='b.png')."
            )
        first = images.get('rgb', next(iter(images.values()), ''))
        stem = name = Path(first).stem if isinstance(first, (str, Path)) else f'{i:08d}'
        number = 1
        while name in samples:  # files of the same name in different folders
            number += 1
            name = f'{stem}_{number}'
        samples[name] = images
    return list(samples.items())


def _is_folder(image: Any) -> bool:
    return isinstance(image, (str, Path)) and ('{}' in str(image) or os.path.isdir(image))


def _describe(image: Any) -> str:
    return 'an array' if isinstance(image, np.ndarray) else str(image)


def _list_folders(folders: dict[str, str]) -> list[tuple[str, dict[str, Image]]]:
    """Lists the samples that have a file in each folder or for each pattern."""
    patterns = {name: path if '{}' in path else _pattern(name, path) for name, path in folders.items()}
    names = common_names('', patterns)
    return [(name, {key: pattern.replace('{}', name) for key, pattern in patterns.items()}) for name in names]


def _pattern(name: str, folder: str) -> str:
    """Returns the path pattern of the images in a folder and its subfolders."""
    files = [path for path in Path(folder).rglob('*') if not path.name.startswith('.')]  # macOS writes ._a.png
    suffixes = {path.suffix for path in files if path.suffix.lower() in SUFFIXES}
    if not suffixes:
        raise FileNotFoundError(
            f'The folder {folder}, given for {name}, contains no images: correct the path, or give a pattern such as '
            f'{folder}/{{}}.png.'
        )
    if len(suffixes) > 1:
        raise ValueError(
            f'The folder {folder}, given for {name}, contains files of several types ({", ".join(sorted(suffixes))}): '
            f'give a pattern such as {folder}/{{}}{min(suffixes)}.'
        )
    return os.path.join(folder, '{}' + suffixes.pop())


def select_modalities(
    images: dict[str, Image], model: BaseModel, available_modalities: Optional[Sequence[str]] = None
) -> dict[str, Image]:
    """Selects the images that the model uses, and checks that they exist.

    Args:
        images: {modality: path or array}.
        model: model with ``modalities`` and ``available_modalities``.
        available_modalities: modalities to use; others are ignored. None: those of the model for which there is an
            image.

    Returns:
        The images in the order of the model's modalities.

    Raises:
        FileNotFoundError: if a file does not exist.
        ValueError: if a modality is unknown or missing, or an image is neither a path nor an array.
    """
    known = ', '.join(model.modalities)
    if unknown := [name for name in images if name not in model.modalities]:
        raise ValueError(f'The model has no modality {unknown[0]!r}: give images of {known}.')
    if available_modalities is None:
        with lock_of(model):
            available_modalities = [name for name in model.available_modalities if name in images]
    else:
        check_available_modalities(available_modalities, model.modalities)
        with lock_of(model):
            usable = getattr(model.data_preprocessor, 'modalities', model.modalities)
        if unusable := [name for name in available_modalities if name not in usable]:
            raise ValueError(
                f'The model was built for {", ".join(usable)} only (model.available_modalities): build it without '
                f'this setting to use {unusable[0]}.'
            )
        if missing := [name for name in available_modalities if name not in images]:
            raise ValueError(
                f'available_modalities contains {missing[0]!r}, but there is no image of it: add the image.'
            )
    if not available_modalities:
        raise ValueError(f'There is no image for the model: give images of {known}.')
    selected = {name: images[name] for name in model.modalities if name in available_modalities}
    for name, image in selected.items():
        if isinstance(image, np.ma.MaskedArray):
            raise ValueError(
                f'The image of {name} is a masked array: give .filled(VALUE) with the invalid value, or NaN.'
            )
        if isinstance(image, np.ndarray):
            continue
        if not isinstance(image, (str, Path)):
            fix = 'leave it out if it is missing' if image is None else 'give a path or a numpy array'
            raise ValueError(f'The image of {name} is a {type(image).__name__}: {fix}.')
        if '://' not in str(image) and not os.path.isfile(image):
            raise FileNotFoundError(f'{image}, given for {name}, does not exist or is not a file: correct the path.')
    return selected


class InputLoader:
    """Reads the images of a sample and runs the config's test pipeline, without labels.

    The settings of each modality are those of the test data set. An array is read like an ``.npy`` file with the same
    content: in the data type and the units of the files, color in the order red, green, blue.

    Args:
        cfg: config whose ``test_dataloader.dataset`` is a data set of this package.
    """

    def __init__(self, cfg: Config):
        self.dataset = build_test_dataset(cfg)
        self._lock = threading.Lock()  # the data set and its transforms hold one sample at a time

    def __call__(self, images: dict[str, Image], name: str = '') -> dict:
        """Returns what the pipeline packs: ``inputs`` and ``data_samples``, with ``name`` as ``sample_name``.

        Args:
            images: {modality: path or array}, in the order in which they are stacked.
            name: name of the sample.

        Raises:
            ValueError: if an image cannot be decoded or differs from the settings, or the images differ in size.
        """
        paths: dict[str, Any] = {
            key: ArrayInput(image, key) if isinstance(image, np.ndarray) else str(image)
            for key, image in images.items()
        }
        first = paths.get('rgb', next(iter(paths.values())))
        with self._lock:
            self.dataset.data_list = [dict(modality_paths=paths, img_path=str(first))]
            packed = self.dataset[0]
        names = {key: str(path) for key, path in paths.items()}  # a result must not keep the arrays
        packed['data_samples'].set_metainfo(dict(sample_name=name, modality_paths=names))
        return packed
