"""Shared fixtures: configs, small models, small data sets, commands, and reference values of the authors' code."""

import gc
import importlib.util
import io
import os
import runpy
import signal
import subprocess
import sys
import traceback
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from multiprocessing import Process, get_context
from pathlib import Path
from typing import Callable, Iterator, Optional
from unittest import mock

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.utils import ManagerMixin

import cen_mm  # noqa: F401
from rooms import render

ROOT = Path(__file__).parents[1]
NYUDV2 = os.environ.get('CEN_MM_NYUDV2')
needs_nyudv2 = pytest.param('nyudv2', marks=pytest.mark.skipif(not NYUDV2, reason='CEN_MM_NYUDV2 is not set'))


def load_module(path: Path):
    """Loads a Python file, such as a tool, as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True, scope='module')
def _fast_garbage_collection():
    """Exempts imported packages: mmengine collects garbage for every data set, and would take 0.3 s each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _mmseg_scope():
    init_default_scope('mmseg')
    torch.manual_seed(0)
    np.random.seed(0)


def without_downloads(part: dict) -> None:
    """Removes weights that would be downloaded from a model config; skips the test if mmpretrain is missing."""
    for key, value in part.items():
        if isinstance(value, dict) and value.get('type') == 'Pretrained':
            part[key] = None
        elif isinstance(value, dict):
            without_downloads(value)
        elif key == 'type' and str(value).startswith('mmpretrain.'):
            pytest.importorskip('mmpretrain')


@pytest.fixture
def config():
    """Returns a function that reads a config by name and removes weights that would be downloaded."""

    def read(name: str) -> Config:
        cfg = Config.fromfile(ROOT / 'configs' / name)
        without_downloads(cfg.model)
        return cfg

    return read


@pytest.fixture
def tiny_model(config):
    """Returns a function that builds the rooms model with 5 classes; options have the form of --cfg-options."""

    def build(options: dict = {}):  # noqa: B006
        cfg = config('cen_refinenet_r18_rooms.py').model
        cfg.decode_head.num_classes = 5
        whole = Config(dict(model=cfg))
        whole.merge_from_dict({f'model.{key}': value for key, value in options.items()})
        return MODELS.build(whole.model)

    return build


def forget_other_runs() -> None:
    """Clears mmengine's global loggers, visualizers and message hubs, because every run of a tool creates new ones."""
    managers = [ManagerMixin]
    for manager in managers:
        managers += manager.__subclasses__()
        manager._instance_dict.clear()


@pytest.fixture
def forget_runs():
    """The function that clears mmengine's global objects of other runs."""
    return forget_other_runs


@pytest.fixture(scope='session')
def train_tool():
    """tools/train.py as a module."""
    return load_module(ROOT / 'tools/train.py')


@contextmanager
def as_before() -> Iterator[None]:
    """Restores what tools change in their process: environment, handler of SIGTERM, number of threads."""
    handler, threads = signal.getsignal(signal.SIGTERM), torch.get_num_threads()
    with mock.patch.dict(os.environ):
        yield
    signal.signal(signal.SIGTERM, handler)
    torch.set_num_threads(threads)


@pytest.fixture
def run_tool(monkeypatch):
    """Returns a function that runs a tool and returns its output.

    By default, the tool runs in this process, which has imported the packages already. With ``own_process=True``, and
    for shell scripts, it runs in a new process. ``fails`` is whether the tool is expected to fail.
    """

    def run(tool: str, *args, fails: bool = False, own_process: bool = False) -> str:
        command = [str(ROOT / 'tools' / tool), *map(str, args)]
        if own_process or tool.endswith('.sh'):
            interpreter = 'bash' if tool.endswith('.sh') else sys.executable
            env = dict(os.environ, PATH=f'{Path(sys.executable).parent}:{os.environ["PATH"]}')
            pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            done = subprocess.run([interpreter, *command], env=env, **pipes)
            failed, output = done.returncode, done.stdout
        else:
            failed, said = None, io.StringIO()
            forget_other_runs()
            monkeypatch.setattr(sys, 'argv', command)
            monkeypatch.syspath_prepend(Path(command[0]).parent)
            with as_before(), redirect_stdout(said), redirect_stderr(said):
                try:
                    runpy.run_path(command[0], run_name='__main__')
                except SystemExit as end:
                    failed = end.code
                    if failed != 2:  # argparse's status, after its message
                        print(end)
                except Exception as error:
                    failed = error
                    traceback.print_exc()
            output = said.getvalue()
        assert bool(failed) == fails, output[-4000:]
        return output

    return run


def pytest_collection_modifyitems(items: list) -> None:
    """Runs the tests that fork first: torch refuses a backward pass in a fork of a process whose autograd has threads,
    which other tests start.
    """
    items.sort(key=lambda item: 'fork_tool' not in getattr(item, 'fixturenames', ()))


@pytest.fixture
def fork_tool():
    """Returns a function that starts a tool in a forked process, which has imported all packages already.

    ``log`` is the file for its output, and ``sabotage`` a function that is called in the process first.
    """

    def main(command: list[str], log: Path, sabotage: Optional[Callable]) -> None:
        forget_other_runs()
        if sabotage is not None:
            sabotage()
        sys.argv = command
        sys.path.insert(0, str(Path(command[0]).parent))
        with open(log, 'w', buffering=1) as out:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
            with redirect_stdout(out), redirect_stderr(out):
                runpy.run_path(command[0], run_name='__main__')

    def start(tool: str, *args, log: Path, sabotage: Optional[Callable] = None) -> Process:
        command = [str(ROOT / 'tools' / tool), *map(str, args)]
        process = get_context('fork').Process(target=main, args=(command, log, sabotage))
        process.start()
        return process

    return start


@pytest.fixture
def made_nyudv2(tmp_path) -> Path:
    """Writes six random 96x72 images in the authors' layout: four for training, two for validation."""
    root = tmp_path / 'nyudv2'
    rng = np.random.default_rng(0)
    for folder in ('rgb', 'masks', 'depth'):
        (root / folder).mkdir(parents=True)
    lines = []
    for i in range(6):
        name = f'{i:06d}.png'
        cv2.imwrite(str(root / 'rgb' / name), rng.integers(0, 256, (72, 96, 3), np.uint8))
        cv2.imwrite(str(root / 'depth' / name), rng.integers(2500, 30000, (72, 96), np.uint16))
        label = np.full((72, 96), 255, np.uint8)
        label[4:, 4:] = rng.integers(0, 40, (17, 23), np.uint8).repeat(4, 0).repeat(4, 1)
        cv2.imwrite(str(root / 'masks' / name), label)
        lines.append(f'rgb/{name}\tmasks/{name}\tdepth/{name}\n')
    (root / 'train.txt').write_text(''.join(lines[:4]))
    (root / 'val.txt').write_text(''.join(lines[4:]))
    return root


@pytest.fixture(params=['made', needs_nyudv2])
def nyudv2(request) -> Path:
    """Runs the test on the generated data set and, if CEN_MM_NYUDV2 is set, on real NYUDv2."""
    return Path(NYUDV2) if request.param == 'nyudv2' else request.getfixturevalue('made_nyudv2')


@pytest.fixture
def any_nyudv2(request) -> Path:
    """Real NYUDv2 if CEN_MM_NYUDV2 is set, otherwise the generated data set; for tests that are too slow for both."""
    return Path(NYUDV2) if NYUDV2 else request.getfixturevalue('made_nyudv2')


@pytest.fixture(scope='session')
def rooms(tmp_path_factory) -> Path:
    """Renders four rooms for training and two for validation in Taskonomy's layout. Copy them before changing them."""
    out = tmp_path_factory.mktemp('rooms')
    render(out, num_train=4, num_val=2, size=(80, 60), workers=1)
    return out / 'taskonomy'


@pytest.fixture(scope='session')
def parity():
    """Returns a function that opens a file of values computed by the authors' code."""
    return lambda name: np.load(ROOT / 'tests/data/parity' / name)


@pytest.fixture(scope='session')
def seeded():
    """tests/data/parity/seeded.py as a module. It computes parameters and inputs from their names."""
    return load_module(ROOT / 'tests/data/parity/seeded.py')


@pytest.fixture(scope='session')
def converter():
    """tools/model_converters/cen_to_mm.py as a module."""
    return load_module(ROOT / 'tools/model_converters/cen_to_mm.py')
