"""Fixtures: a small data set in the authors' layout, the real images where they are at hand, configs, parity files."""

import importlib.util
import io
import os
import runpy
import subprocess
import sys
import traceback
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.utils import ManagerMixin

import cen_mm  # noqa: F401
from cen_mm.rooms import render

ROOT = Path(__file__).parents[1]
NYUDV2 = os.environ.get('CEN_MM_NYUDV2')
needs_nyudv2 = pytest.param('nyudv2', marks=pytest.mark.skipif(not NYUDV2, reason='CEN_MM_NYUDV2 is not set'))


def load_module(path: Path):
    """A tool or a fixture as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _mmseg_scope():
    init_default_scope('mmseg')
    torch.manual_seed(0)
    np.random.seed(0)


def without_downloads(part: dict) -> None:
    """Takes all weights that would be downloaded out of a model's config; skips the test if a library is missing."""
    for key, value in part.items():
        if isinstance(value, dict) and value.get('type') == 'Pretrained':
            part[key] = None
        elif isinstance(value, dict):
            without_downloads(value)
        elif key == 'type' and str(value).startswith('mmpretrain.'):
            pytest.importorskip('mmpretrain')


@pytest.fixture
def config():
    """Reads a config by its name and takes out what would be downloaded."""

    def read(name: str) -> Config:
        cfg = Config.fromfile(ROOT / 'configs' / name)
        without_downloads(cfg.model)
        return cfg

    return read


@pytest.fixture
def tiny_model(config):
    """The embedded default with 5 classes; options are as those of --cfg-options."""

    def build(options: dict = {}):  # noqa: B006
        cfg = config('cen_refinenet_r18_rooms.py').model
        cfg.decode_head.num_classes = 5
        whole = Config(dict(model=cfg))
        whole.merge_from_dict({f'model.{key}': value for key, value in options.items()})
        return MODELS.build(whole.model)

    return build


def forget_other_runs() -> None:
    """Loggers, visualisers and message hubs live as long as a process, and a tool makes its own."""
    managers = [ManagerMixin]
    for manager in managers:
        managers += manager.__subclasses__()
        manager._instance_dict.clear()


@pytest.fixture
def run_tool(monkeypatch):
    """Runs a tool, in this process, which has imported everything, or in its own, as a user does; gives its output."""

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
            with redirect_stdout(said), redirect_stderr(said):
                try:
                    runpy.run_path(command[0], run_name='__main__')
                except SystemExit as end:
                    failed = end.code
                    print(end)
                except Exception as error:
                    failed = error
                    traceback.print_exc()
            output = said.getvalue()
        assert bool(failed) == fails, output[-4000:]
        return output

    return run


@pytest.fixture
def made_nyudv2(tmp_path) -> Path:
    """Six 96x72 images in the authors' layout: four for training, two for validation."""
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
    """The data set made for the tests, and real NYUDv2 where CEN_MM_NYUDV2 names it."""
    return Path(NYUDV2) if request.param == 'nyudv2' else request.getfixturevalue('made_nyudv2')


@pytest.fixture
def any_nyudv2(request) -> Path:
    """Real NYUDv2 where it is at hand, otherwise the data set made: for tests too long to run on both."""
    return Path(NYUDV2) if NYUDV2 else request.getfixturevalue('made_nyudv2')


@pytest.fixture(scope='session')
def rooms(tmp_path_factory) -> Path:
    """Four rooms to train on and two to test, in Taskonomy's layout, for all tests: copy what you change."""
    out = tmp_path_factory.mktemp('rooms')
    render(out, num_train=4, num_val=2, size=(80, 60), workers=1)
    return out / 'taskonomy'


@pytest.fixture(scope='session')
def parity():
    """Opens a file of numbers that the authors' code computed."""
    return lambda name: np.load(ROOT / 'tests/data/parity' / name)


@pytest.fixture(scope='session')
def seeded():
    """The rule that fills parameters and inputs by name."""
    return load_module(ROOT / 'tests/data/parity/seeded.py')


@pytest.fixture(scope='session')
def converter():
    """tools/model_converters/cen_to_mm.py as a module."""
    return load_module(ROOT / 'tools/model_converters/cen_to_mm.py')
