"""tools/train.py trains: of any modalities, to a depth with holes, and on after a kill inside the GAN step."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip('mmagic')

ROOT = Path(__file__).parents[2]
KILLER = """
import os, signal
from cen_mm.translation import CENTranslation

calls, losses = [], CENTranslation._gen_losses

def die_in_the_fifth_step(self, *images):
    calls.append(1)
    if len(calls) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return losses(self, *images)

CENTranslation._gen_losses = die_in_the_fifth_step
"""


@pytest.fixture(scope='module')
def holed_rooms(rooms, tmp_path_factory) -> Path:
    """Rooms whose depth is missing on the right."""
    out = shutil.copytree(rooms, tmp_path_factory.mktemp('holed') / 'taskonomy')
    for path in (out / 'depth_euclidean').rglob('*.png'):
        depth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        depth[:, 50:] = 65535
        cv2.imwrite(str(path), depth)
    return out


@pytest.fixture
def train(holed_rooms, tmp_path, run_tool):
    """Trains the rooms' child of a Taskonomy config with tools/train.py, one picture a step; returns the log."""
    options = [
        'model.generator.base_channels=4',
        'model.generator.dropout_ratio=0',
        'model.discriminator.base_channels=4',
        'default_hooks.checkpoint.interval=1',
        'default_hooks.logger.interval=1',
        'train_dataloader.batch_size=1',
        'train_dataloader.dataset.indices=3',
        'val_dataloader.dataset.indices=1',
    ]
    for loader in ('train_dataloader', 'val_dataloader'):
        options += [f'{loader}.num_workers=0', f'{loader}.persistent_workers=False']
        options.append(f'{loader}.dataset.data_root={holed_rooms}')

    def run(name: str, *more: str, work_dir: str = 'work', resume: bool = False, killed: bool = False) -> str:
        child = (ROOT / f'configs/cen_unet_{name}_taskonomy.py').read_text().replace('rgb_taskonomy', 'rgb_rooms')
        child = child.replace("_base_ = '", f"_base_ = '{ROOT}/configs/")
        if killed:
            (tmp_path / 'killer.py').write_text(KILLER)
            child += "custom_imports = dict(imports=['cen_mm.translation', 'killer'])\n"
        (tmp_path / 'child.py').write_text(child)
        command = ['train.py', tmp_path / 'child.py', '--work-dir', tmp_path / work_dir]
        command = [str(word) for word in (*command, *['--resume'] * resume, '--cfg-options', *options, *more)]
        if killed:
            env = dict(os.environ, PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path]))
            done = subprocess.run(
                [sys.executable, ROOT / 'tools' / command[0], *command[1:]], env=env, capture_output=True
            )
            assert done.returncode == -signal.SIGKILL, done.stderr[-3000:]
        else:
            run_tool(*command)
        return sorted((tmp_path / work_dir).glob('*/*.log'))[-1].read_text()

    return run


@pytest.mark.parametrize(
    ('name', 'branches'),
    [
        ('depth-normal-texture-shade2rgb', ['depth_euclidean', 'normal', 'edge_texture', 'reshading', 'ensemble']),
        ('rgb-edge2depth', ['rgb', 'edge_occlusion', 'ensemble']),
    ],
)
def test_trains_on_other_modalities(train, name, branches):
    steps = ['train_dataloader.dataset.indices=2', 'train_cfg.max_epochs=1', 'train_cfg.val_interval=1']
    log = train(name, *steps)
    assert re.findall(r'^\| +(\w+) +\| +\d', log, re.MULTILINE) == branches
    losses = [float(value) for value in re.findall(r' loss\w*: (\S+)', log)]
    assert len(losses) == 2 * 5
    assert np.isfinite(losses).all()


def test_goes_on_after_a_kill_inside_the_gan_step(train, tmp_path):
    """As if nothing had happened: bit by bit the same weights and optimisers after two epochs of three steps."""
    name = 'depth-normal2rgb'
    options = ['train_cfg.max_epochs=2']
    options += [f'train_dataloader.dataset.pipeline.{step}' for step in ('1.size=(64,64)', '3.prob=0')]  # no chance
    log = train(name, *options, killed=True)
    assert 'Epoch(train) [2][1/3]' in log
    assert 'Epoch(train) [2][2/3]' not in log
    assert not (tmp_path / 'work/epoch_2.pth').exists()
    assert 'resumed epoch: 1, iter: 3' in train(name, *options, resume=True)
    train(name, *options, work_dir='undisturbed')
    want, got = (
        torch.load(tmp_path / folder / 'epoch_2.pth', weights_only=True) for folder in ('undisturbed', 'work')
    )
    assert got['meta']['iter'] == 6
    for part in ('state_dict', 'optimizer'):
        torch.testing.assert_close(got[part], want[part], rtol=0, atol=0)
