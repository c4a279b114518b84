"""Another implementation in a process of its own, as its users run it: nothing of cen_mm is imported there.

It inherits the environment, and with it the pages of 2 MB that cen_mm asks torch for.
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
from measuring import resident, seconds


def load(path: str) -> ModuleType:
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def task_of(name: str, options: dict) -> list:
    """What the process is told.

    Args:
        name: ``PATH.py:NAME``, a script and the function in it that makes the callable.
        options: what the function may ask for; ``device`` is one of them.

    Raises:
        SystemExit: for a wrong path or name, or if the function asks for more.
    """
    path, _, attribute = name.rpartition(':')
    if not Path(path).is_file():
        raise SystemExit(f'--compare {name}: {path or name} is no file, give PATH.py:NAME.')
    module = load(path)
    if not hasattr(module, attribute):
        raise SystemExit(f'--compare {name}: {path} has no {attribute!r}, give the name of a function in it.')
    takes = inspect.signature(getattr(module, attribute)).parameters
    missing = [key for key, taken in takes.items() if taken.default is taken.empty and key not in options]
    if missing:
        raise SystemExit(f'--compare {name} asks for {missing}: give a function of {", ".join(options)}.')
    return [path, attribute, {key: value for key, value in options.items() if key in takes}, options['device']]


class Other:
    """The process; ``amp`` puts it under autocast to bfloat16."""

    def __init__(self, task: list, amp: bool):
        command = [sys.executable, __file__, json.dumps([*task, amp])]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self) -> tuple[float, float]:
        """Wall and processor seconds of one run; afterwards ``peak_memory`` holds the bytes needed so far."""
        print(file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit('The other implementation ended before its run did: what it said last is above.')
        wall, cpu, self.peak_memory = json.loads(answer)
        return wall, cpu

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def serve(path: str, attribute: str, options: dict, device: str, amp: bool) -> None:
    """Answers every line of the input with the figures of one run."""
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)  # what the script prints must not look like an answer
    before = resident('VmRSS')
    step = getattr(load(path), attribute)(**options)
    for _ in sys.stdin:
        with torch.autocast(device, torch.bfloat16, enabled=amp):
            took = seconds(step, device)
        peak = resident('VmHWM') - before if device == 'cpu' else torch.cuda.max_memory_allocated()
        print(json.dumps([*took, peak]), file=answers, flush=True)


if __name__ == '__main__':
    serve(*json.loads(sys.argv[1]))
