"""Makes mmseg and mmagic importable, checkpoints loadable and harmless, our configs known, and data samples pinned.

No other module patches other packages.
"""

import argparse
import importlib.machinery
import importlib.util
import os
import pickle
import sys
import types
import warnings
from functools import partial
from pathlib import Path
from typing import Any, Optional, Union
from urllib.parse import urlparse

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.runner import checkpoint as mmengine_checkpoint
from mmengine.structures import BaseDataElement
from mmengine.utils import digit_version

from .checkpoint import load_weights, read_checkpoint

# albumentations, which mmseg imports, would ask for its newest version on the network.
os.environ.setdefault('NO_ALBUMENTATIONS_UPDATE', '1')
# mmseg's own heads call its deprecated function whenever a model is built.
warnings.filterwarnings('ignore', '``build_loss`` would be deprecated')

try:
    import mmcv  # noqa: F401
except ImportError as error:
    raise ImportError(
        "cen_mm needs mmcv: run `pip install 'mmcv-lite>=2.1,<2.2'`, or install full mmcv 2.1 if you use compiled ops."
    ) from error


class _MissingOps(types.ModuleType):
    """Stands in for mmcv's compiled extension: `import mmcv.ops` works, and calling an op raises a clear error."""

    def __getattr__(self, name: str):
        if name.startswith('__'):
            raise AttributeError(name)

        def missing_op(*args, **kwargs):
            raise NotImplementedError(
                f'The compiled op {name!r} is not in mmcv-lite: install full mmcv 2.1 to use a model that needs it.'
            )

        return missing_op


def _stand_in_for_compiled_ops() -> None:
    # mmseg 1.2.2 and mmagic 1.2.0 import mmcv.ops when they are imported, although CEN calls none of the ops.
    if importlib.util.find_spec('mmcv._ext') is None:
        stand_in = _MissingOps('mmcv._ext')
        # Without a loader, mmengine.utils.mmcv_full_available() finds the module and still returns False.
        stand_in.__spec__ = importlib.machinery.ModuleSpec('mmcv._ext', None)
        sys.modules['mmcv._ext'] = stand_in


def _get_history_method(owner: type, name: str):
    """Replaces `getattr` in checkpoints: allows only the four methods that mmengine pickles with it."""
    if owner is not HistoryBuffer or name not in ('min', 'max', 'current', 'mean'):
        raise pickle.UnpicklingError(
            f"The checkpoint refers to {owner}.{name}, which mmengine's log history does not use."
        )
    return getattr(owner, name)


def _allow_mmengine_checkpoints() -> None:
    # torch >= 2.6 loads with weights_only=True and refuses the log history that mmengine 0.10 writes into its own
    # checkpoints. This allows the classes of that history and nothing else; the protection stays on.
    if digit_version(torch.__version__) >= digit_version('2.6'):
        try:
            from numpy._core.multiarray import _reconstruct, scalar
        except ImportError:  # numpy < 1.26 has them under the old name
            from numpy.core.multiarray import _reconstruct, scalar
        dtypes = {type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_)}
        history = [HistoryBuffer, (_get_history_method, 'builtins.getattr')]
        # numpy 1 and 2 write different module names; either version loads the checkpoints of the other.
        functions = [
            (function, f'numpy.{core}.multiarray.{function.__name__}')
            for function in (_reconstruct, scalar)
            for core in ('core', '_core')
        ]
        torch.serialization.add_safe_globals([*history, *functions, np.ndarray, np.dtype, *dtypes])


def config_path(name: Union[str, Path]) -> str:
    """Returns the path of a config.

    Args:
        name: ``'cen_mm::NAME'`` for the config NAME of this package, such as ``'cen_mm::cen_refinenet_r18_rooms.py'``.
            Any other name is a path and is returned as it is.

    Raises:
        FileNotFoundError: if this package has no such config.
    """
    if not str(name).startswith('cen_mm::'):
        return str(name)
    own_name = str(name).removeprefix('cen_mm::')
    folder = Path(__file__).parent / '.mim/configs'  # in a wheel
    if not folder.exists():
        folder = Path(__file__).parents[1] / 'configs'  # in a checkout
    if not (folder / own_name).is_file():
        raise FileNotFoundError(f'cen_mm has no config {own_name!r}: use one of the files in {folder}.')
    return str(folder / own_name)


def config_argument(name: str) -> str:
    """Returns :func:`config_path` of an argument of a command, for argparse's ``type``.

    Raises:
        argparse.ArgumentTypeError: if there is no such file.
    """
    try:
        path = config_path(name)
    except FileNotFoundError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not Path(path).is_file():
        raise argparse.ArgumentTypeError(f'{name} does not exist: give the path of a config file, or cen_mm::NAME.')
    return path


def _find_own_configs() -> None:
    # mmengine resolves `_base_ = 'package::folder/name.py'` for a fixed list of packages only.
    get_cfg_path = Config._get_cfg_path

    def get_own_cfg_path(cfg_path: str, filename: str) -> tuple[str, Optional[str]]:
        path = config_path(cfg_path)
        return get_cfg_path(path, filename) if path == cfg_path else (path, None)

    Config._get_cfg_path = staticmethod(get_own_cfg_path)


def _load_url(
    url: str, model_dir: Optional[str] = None, map_location: Any = 'cpu', progress: bool = True, **_: Any
) -> dict:
    """Downloads a checkpoint to torch's cache, if it is not there, and reads it without running code in it."""
    file = Path(model_dir or Path(torch.hub.get_dir(), 'checkpoints')) / Path(urlparse(url).path).name
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(file), progress=progress)
    return read_checkpoint(file, map_location)


def load_without_code(module: types.ModuleType) -> None:
    """Makes a module of another package load checkpoints with :func:`~cen_mm.checkpoint.read_checkpoint`."""
    module.torch = types.SimpleNamespace(**{**vars(torch), 'load': read_checkpoint})


def _protect_loading() -> None:
    # torch < 2.6 runs code in checkpoints by default, and every torch does in those from a URL; mmengine passes no
    # weights_only. It also goes on with random weights if no key fits. All of its loaders are in one module.
    load_without_code(mmengine_checkpoint)
    mmengine_checkpoint.load_url = _load_url
    mmengine_checkpoint.load_state_dict = partial(load_weights, mmengine_checkpoint.load_state_dict)


def _pin_data_samples() -> None:
    # torch's data loaders pin what has this method. Without it, copies of labels to the GPU wait for its earlier work.
    def pin_memory(sample: BaseDataElement) -> BaseDataElement:
        for key, value in sample.items():
            if hasattr(value, 'pin_memory'):
                setattr(sample, key, value.pin_memory())
        return sample

    BaseDataElement.pin_memory = pin_memory


_stand_in_for_compiled_ops()
_allow_mmengine_checkpoints()
_find_own_configs()
_protect_loading()
_pin_data_samples()
