"""Functions that measure time, memory and the speed of the machine."""

import gc
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Callable

import torch

Step = Callable[[], object]
PRECISIONS = dict(float32=torch.float32, tf32=torch.float32, bfloat16=torch.bfloat16, float16=torch.float16)
GPU_SECONDS = 0.2


def set_precision(precision: str) -> None:
    """Sets how a GPU computes float32: with or without TF32. cuDNN selects the fastest algorithms, as in our configs.

    By default, torch uses TF32 for convolutions and not for matrix products.
    """
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == 'tf32'
    torch.backends.cudnn.benchmark = True


def autocast(device: str, precision: str) -> torch.autocast:
    """Returns the context in which an implementation runs; it does nothing for float32 and TF32."""
    dtype = PRECISIONS[precision]
    half = dtype != torch.float32
    return torch.autocast(device, dtype if half else None, enabled=half)


def seconds(step: Step, device: str) -> tuple[float, float]:
    """Measures the wall-clock and the processor time of one call, in seconds.

    On a GPU, it is the mean over the calls of ``GPU_SECONDS``, after one call for which the GPU may have to wake up.
    """
    calls = 0
    if device != 'cpu':
        step()
        torch.cuda.synchronize()
    start, cpu = time.perf_counter(), time.process_time()
    while calls == 0 or (device != 'cpu' and time.perf_counter() - start < GPU_SECONDS):
        step()
        calls += 1
    if device != 'cpu':
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / calls, (time.process_time() - cpu) / calls


def product_speed(device: str, dtype: torch.dtype) -> float:
    """Measures the FLOP/s of a large matrix product, the best of five runs."""
    side = 2048 if device == 'cpu' else 8192
    a = torch.randn(side, side, device=device).to(dtype)
    return 2 * side**3 / min(seconds(lambda: a @ a, device)[0] for _ in range(5))


def resident(field: str) -> int:
    """Reads the resident memory of this process in bytes, now (`VmRSS`) or at its peak (`VmHWM`). Linux only."""
    lines = dict(line.split(':') for line in Path('/proc/self/status').read_text().splitlines())
    return 1024 * int(lines[field].split()[0])


def peak_memory(make: Callable[[], Step], device: str) -> int:
    """Measures the peak memory in bytes of building a callable and running it twice, including its model.

    On a GPU, it is the peak of the second run, because cuDNN tries algorithms with large buffers in the first one.
    """
    gc.collect()
    before = resident('VmRSS') if device == 'cpu' else torch.cuda.memory_allocated()
    step = make()
    step()  # creates the optimizer's state
    if device != 'cpu':
        torch.cuda.reset_peak_memory_stats()
    step()
    return (resident('VmHWM') if device == 'cpu' else torch.cuda.max_memory_allocated()) - before


def fresh_memory(make: Callable[[], Step], device: str) -> int:
    """Measures the peak memory as :func:`peak_memory` does, on the CPU in a new process.

    A new process is needed because a process keeps the memory that it has freed.

    Raises:
        BrokenProcessPool: if the machine has too little memory.
    """
    if device != 'cpu':
        return peak_memory(make, device)
    with ProcessPoolExecutor(1, multiprocessing.get_context('fork')) as fresh:
        global forked
        forked = make  # cannot be pickled, but the forked process inherits it
        return fresh.submit(_peak_of_forked).result()


def _peak_of_forked() -> int:
    return peak_memory(forked, 'cpu')
