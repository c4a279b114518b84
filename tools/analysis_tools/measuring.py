"""Time, memory and the machine's limits: what benchmark.py measures with."""

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Callable

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Step = Callable[[], object]


def seconds(step: Step, device: str) -> tuple[float, float]:
    """Wall and processor seconds of one call."""
    start, cpu = time.perf_counter(), time.process_time()
    step()
    if device != 'cpu':
        torch.cuda.synchronize()
    return time.perf_counter() - start, time.process_time() - cpu


class Traffic(TorchDispatchMode):
    """Counts the bytes that operations would move if each read its inputs and wrote its outputs once."""

    bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            tensors = [t for t in tree_leaves((args, kwargs, out)) if isinstance(t, Tensor)]
            self.bytes += sum(t.numel() * t.element_size() for t in tensors)
        return out


def machine_peak(device: str, dtype: torch.dtype) -> dict[str, float]:
    """Multiply-adds (times two) and bytes a second of a large matrix product and a large copy, the best of five."""
    side = 2048 if device == 'cpu' else 8192
    a = torch.randn(side, side, device=device).to(dtype)
    b = torch.empty(1 << 26, device=device)
    c = b.clone()
    product = min(seconds(lambda: a @ a, device)[0] for _ in range(5))
    copy = min(seconds(lambda: c.copy_(b), device)[0] for _ in range(5))
    return dict(flops=2 * side**3 / product, bytes=2 * 4 * (1 << 26) / copy)


def resident(field: str) -> int:
    """Bytes of this process in memory now (`VmRSS`) or at most so far (`VmHWM`), as Linux counts them."""
    lines = dict(line.split(':') for line in Path('/proc/self/status').read_text().splitlines())
    return 1024 * int(lines[field].split()[0])


def peak_memory(make: Callable[[], Step], device: str) -> int:
    """Bytes that a work needs at most, its model included."""
    before = resident('VmRSS') if device == 'cpu' else torch.cuda.memory_allocated()
    if device != 'cpu':
        torch.cuda.reset_peak_memory_stats()
    step = make()
    for _ in range(2):  # the optimiser's state comes with the first
        step()
    return (resident('VmHWM') if device == 'cpu' else torch.cuda.max_memory_allocated()) - before


def fresh_memory(make: Callable[[], Step], device: str) -> int:
    """The same, on the CPU in a process of its own: freed memory stays with a process, so a used one shows too much.

    Raises:
        BrokenProcessPool: if the machine has too little.
    """
    if device != 'cpu':
        return peak_memory(make, device)
    with ProcessPoolExecutor(1, multiprocessing.get_context('fork')) as fresh:
        global forked
        forked = make  # a function in a function is not pickled, but a fork has it
        return fresh.submit(_peak_of_forked).result()


def _peak_of_forked() -> int:
    return peak_memory(forked, 'cpu')
