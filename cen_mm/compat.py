"""The only place that patches the stack. Each patch says why and applies only where it is needed."""

import ctypes
import importlib.machinery
import importlib.util
import os
import pickle
import platform
import sys
import types

import numpy as np
import torch
from mmengine.device import get_device
from mmengine.dist import utils as dist_utils
from mmengine.logging import HistoryBuffer
from mmengine.utils import digit_version

try:
    import mmcv  # noqa: F401
except ImportError as error:
    raise ImportError(
        "cen_mm needs mmcv: run `pip install 'mmcv-lite>=2.1,<2.2'`, or install full mmcv 2.1 if you use compiled ops."
    ) from error

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # names and values of malloc.h


class _MissingOps(types.ModuleType):
    """Stands in for mmcv's compiled extension, so that `import mmcv.ops` works and a call to an op explains itself."""

    def __getattr__(self, name: str):
        if name.startswith('__'):
            raise AttributeError(name)

        def missing_op(*args, **kwargs):
            raise NotImplementedError(
                f'The compiled op {name!r} is not in mmcv-lite: install full mmcv 2.1 to use a model that needs it.'
            )

        return missing_op


def _stand_in_for_compiled_ops() -> None:
    # mmseg 1.2.2 and mmagic 1.2.0 import mmcv.ops at the top, though CEN calls none of them.
    if importlib.util.find_spec('mmcv._ext') is None:
        stand_in = _MissingOps('mmcv._ext')
        # No loader, so that mmengine.utils.mmcv_full_available() finds the module and still answers False.
        stand_in.__spec__ = importlib.machinery.ModuleSpec('mmcv._ext', None)
        sys.modules['mmcv._ext'] = stand_in


def _method_of_history(owner: type, name: str):
    """Takes the place of `getattr` in checkpoints, for the four methods that mmengine pickles by it."""
    if owner is not HistoryBuffer or name not in ('min', 'max', 'current', 'mean'):
        raise pickle.UnpicklingError(f'A checkpoint asks for {owner}.{name}, which no log history needs.')
    return getattr(owner, name)


def _allow_mmengine_checkpoints() -> None:
    # torch >= 2.6 loads with weights_only=True and refuses the log history that mmengine 0.10 writes into its own
    # checkpoints. These are the classes of that history, and nothing else; the protection stays on.
    if digit_version(torch.__version__) >= digit_version('2.6'):
        try:
            from numpy._core.multiarray import _reconstruct, scalar
        except ImportError:  # numpy < 1.26 has them under the old name
            from numpy.core.multiarray import _reconstruct, scalar
        dtypes = {type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_)}
        history = [HistoryBuffer, (_method_of_history, 'builtins.getattr')]
        torch.serialization.add_safe_globals([*history, _reconstruct, scalar, np.ndarray, np.dtype, *dtypes])


def _launch_on_the_cpu() -> None:
    # mmengine 0.10 picks a GPU in every process that torchrun starts, even where there is none to pick.
    if get_device() == 'cpu':
        dist_utils._init_dist_pytorch = lambda backend, **options: torch.distributed.init_process_group('gloo')


def _keep_freed_memory() -> None:
    # glibc returns large blocks to the system as soon as they are free, so on the CPU every feature map of every step
    # was made of fresh, zeroed pages: 13 % of an inference in bfloat16. The heap keeps what it has got instead, as
    # torch's allocator does on a GPU, and takes it in pages of 2 MB.
    if get_device() == 'cpu' and platform.libc_ver()[0] == 'glibc':
        os.environ.setdefault('THP_MEM_ALLOC_ENABLE', '1')
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)


_stand_in_for_compiled_ops()
_allow_mmengine_checkpoints()
_launch_on_the_cpu()
_keep_freed_memory()
