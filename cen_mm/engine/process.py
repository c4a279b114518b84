"""Memory and distributed settings for commands. Importing the package changes none of them."""

import ctypes
import os
import platform

import torch
from mmengine.device import get_device
from mmengine.dist import is_distributed

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # parameters of mallopt, from malloc.h


def set_up_process(launcher: str = 'none', tune_memory: bool = True) -> None:
    """Prepares the process of a command that runs a model on the CPU. With a GPU, it does nothing.

    Args:
        launcher: mmengine's launcher. Processes started by torchrun use the gloo backend on the CPU; mmengine 0.10
            would try to select a GPU in every process.
        tune_memory: whether to call :func:`keep_freed_memory`.
    """
    if get_device() != 'cpu':
        return
    if tune_memory:
        keep_freed_memory()
    if launcher == 'pytorch' and not is_distributed():
        torch.distributed.init_process_group('gloo')


def keep_freed_memory() -> None:
    """Makes glibc keep freed memory for the next tensor, and allocate large tensors in pages of 2 MB (Linux only).

    glibc returns large blocks to the system as soon as they are freed, so on the CPU every feature map of every
    iteration is in new pages, which the system fills with zeros. This takes 13 % of the time of inference in bfloat16.
    With this function, the process keeps its memory, as torch's allocator does on a GPU. It must be called before
    torch allocates large tensors.
    """
    if platform.libc_ver()[0] == 'glibc':
        os.environ.setdefault('THP_MEM_ALLOC_ENABLE', '1')
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)
