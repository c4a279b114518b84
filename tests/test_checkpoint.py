"""Checkpoints of version 0.1 load into the current models. Their keys were recorded with the code of version 0.1."""

import importlib.util
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import save_checkpoint

from cen_mm.apis import init_model
from cen_mm.checkpoint import move_modalities, read_checkpoint

KEYS = sorted((Path(__file__).parent / 'data/checkpoints_0.1').glob('*.txt'))


def test_starting_weights_of_other_modalities_move_by_name():
    keys = [f'backbone.bn1.norms.{i}.weight' for i in range(3)] + ['convs.copies.1.weight', 'neck.weight']
    weights = {key: i for i, key in enumerate(keys)}
    assert move_modalities(weights, ['rgb', 'thermal'], ['rgb', 'depth', 'thermal']) == {
        'backbone.bn1.norms.0.weight': 0,
        'backbone.bn1.norms.1.weight': 0,  # new: those of the first one
        'backbone.bn1.norms.2.weight': 1,
        'backbone.bn1.norms.3.weight': 2,  # of the feature ensemble
        'convs.copies.2.weight': 3,
        'neck.weight': 4,
    }
    assert move_modalities(weights, ['rgb', 'depth'], ['rgb', 'thermal']) == weights
    assert set(move_modalities(weights, ['rgb', 'ir'], ['ir']).items()) == {
        ('backbone.bn1.norms.0.weight', 1), ('backbone.bn1.norms.1.weight', 2), ('convs.copies.0.weight', 3),
        ('neck.weight', 4),
    }  # fmt: skip


def test_rows_of_modalities_move_with_them():
    theirs, ours = ['rgb', 'depth', 'normal'], ['rgb', 'normal', 'thermal', 'event']
    rows = {'ensemble.alpha': torch.arange(3), 'neck.bn.partial_mean': torch.arange(8).view(4, 2)}  # 4: the ensemble
    rows['neck.bn.norms.1.weight'] = torch.ones(2)
    moved = move_modalities(rows, theirs, ours)
    assert moved['ensemble.alpha'].tolist() == [0, 2, 1, 0]
    assert moved['neck.bn.partial_mean'][:, 0].tolist() == [0, 4, 2, 0, 6]


def test_layers_that_all_modalities_share_stay():
    weights = {'backbone.bn1.norms.0.weight': 0, 'neck.weight': 1}
    assert move_modalities(weights, ['rgb', 'depth'], ['depth', 'thermal']) == weights
    assert move_modalities(weights, ['rgb'], ['rgb', 'depth'])['backbone.bn1.norms.1.weight'] == 0


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


def test_translation_checkpoint_of_several_processes_loads(config, tmp_path):
    """MMagic wraps each network there, so the keys contain ``module``."""
    pytest.importorskip('mmagic')
    cfg = config('cen_unet_shade-texture2rgb_rooms.py')
    init_default_scope(cfg.default_scope)
    state = MODELS.build(cfg.model).state_dict()
    wrapped = {key.replace('.target.', '.module.target.', 1): value for key, value in state.items()}
    assert wrapped.keys() != state.keys()
    save_checkpoint({'state_dict': wrapped}, str(tmp_path / 'wrapped.pth'))
    loaded = init_model(cfg, tmp_path / 'wrapped.pth', device='cpu').state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'is not a checkpoint, or it is damaged or cut off'),
        (b'epoch, loss\n1, 0.5\n', 'is not a checkpoint, or it is damaged or cut off'),
        ('half', 'is not a checkpoint, or it is damaged or cut off'),
        ([1.0], 'contains a list, not a dict of weights'),
        (torch.nn.Linear(1, 1), r'contains torch.nn.modules.linear.Linear, which could run code'),
    ],
    ids=['empty', 'text', 'half', 'list', 'module'],
)
def test_files_that_are_no_checkpoint_are_refused_in_one_sentence(tmp_path, content, message):
    path = tmp_path / 'file.pth'
    torch.save({'w': torch.zeros(1000)} if content == 'half' else content, path)
    if content == 'half':
        path.write_bytes(path.read_bytes()[:2000])
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(ValueError, match=f'^{path} {message}'):
        read_checkpoint(path)
    with pytest.raises(FileNotFoundError):
        read_checkpoint(tmp_path / 'none.pth')
