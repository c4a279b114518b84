"""Runs another implementation in a separate process, without importing cen_mm there.

The process inherits the environment variables, including the one that makes torch allocate large tensors in pages of
2 MB (see ``cen_mm.engine.process.keep_freed_memory``).
"""

import importlib.util
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import torch
from measuring import autocast, resident, seconds, set_precision


def load(path: str) -> ModuleType:
    """Imports a script as a module."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build_task(name: str, options: dict) -> list:
    """Builds the arguments of :func:`serve`, without ``precision``.

    Args:
        name: ``PATH.py:NAME``, a script and the function in it that returns the callable.
        options: arguments that the function may have, including ``device``.

    Raises:
        SystemExit: if the path or the name is wrong, or the function requires other arguments.
    """
    path, _, attribute = name.rpartition(':')
    if not Path(path).is_file():
        raise SystemExit(f'--compare {name}: {path or name} is not a file. Give PATH.py:NAME.')
    module = load(path)
    if not hasattr(module, attribute):
        raise SystemExit(f'--compare {name}: {path} has no {attribute!r}. Give the name of a function in it.')
    parameters = inspect.signature(getattr(module, attribute)).parameters
    missing = [key for key, value in parameters.items() if value.default is value.empty and key not in options]
    if missing:
        raise SystemExit(f'--compare {name} requires the unknown arguments {missing}: use {", ".join(options)}.')
    return [path, attribute, {key: value for key, value in options.items() if key in parameters}, options['device']]


class Other:
    """Process of another implementation.

    Args:
        task: result of :func:`build_task`.
        precision: key of ``measuring.PRECISIONS``.
    """

    def __init__(self, task: list, precision: str):
        command = [sys.executable, __file__, json.dumps([*task, precision])]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self) -> tuple[float, float]:
        """Runs once and returns wall-clock and processor seconds. Updates ``peak_memory`` (bytes)."""
        print(file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit('The other implementation ended during a run: fix the error that it printed above.')
        wall, cpu, self.peak_memory = json.loads(answer)
        return wall, cpu

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def serve(path: str, attribute: str, options: dict, device: str, precision: str) -> None:
    """Runs the implementation once per line of the standard input, and writes time and memory of each run.

    Args:
        path: path of the script.
        attribute: name of the function that returns the callable.
        options: arguments of the function.
        device: device that the implementation uses.
        precision: key of ``measuring.PRECISIONS``.
    """
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)  # keeps the output of the script out of the answers
    set_precision(precision)
    before = resident('VmRSS')
    step = getattr(load(path), attribute)(**options)
    for _ in sys.stdin:
        if device != 'cpu':
            torch.cuda.reset_peak_memory_stats()  # the first run tries algorithms with large buffers
        with autocast(device, precision):
            times = seconds(step, device)
        peak = resident('VmHWM') - before if device == 'cpu' else torch.cuda.max_memory_allocated()
        print(json.dumps([*times, peak]), file=answers, flush=True)


if __name__ == '__main__':
    serve(*json.loads(sys.argv[1]))
