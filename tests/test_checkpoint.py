"""Checkpoints of version 0.1 load into the current models. Their keys were recorded with the code of version 0.1."""

import importlib.util
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import save_checkpoint

from cen_mm.apis import init_model

KEYS = sorted((Path(__file__).parent / 'data/checkpoints_0.1').glob('*.txt'))


@pytest.mark.parametrize('path', KEYS, ids=lambda path: path.stem)
def test_checkpoint_of_version_0_1_loads(path, config, tmp_path):
    if 'unet' in path.stem and not importlib.util.find_spec('mmagic'):
        pytest.skip('translation needs mmagic')
    cfg = config(f'{path.stem}.py')
    init_default_scope(cfg.default_scope)
    state = MODELS.build(cfg.model).state_dict()
    state = {key: torch.rand_like(value) if value.is_floating_point() else value for key, value in state.items()}
    old_keys = path.read_text().split()
    assert old_keys != list(state)
    assert len(old_keys) == len(state)  # the renamed parameters are in the same order
    save_checkpoint({'state_dict': dict(zip(old_keys, state.values()))}, str(tmp_path / 'old.pth'))
    loaded = init_model(cfg, tmp_path / 'old.pth', device='cpu').state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())
