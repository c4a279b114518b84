"""Segmentation reproduces the authors' results in float64. tests/data/parity/README.md describes their values."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import refinenet_keys
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from cen_mm.apis import init_model

ROOT = Path(__file__).parents[2]
PARITY = ROOT / 'tests/data/parity'


@pytest.fixture(scope='module')
def want(parity):
    return parity('refinenet_r50.npz')


@pytest.fixture
def spec():
    return json.loads((PARITY / 'refinenet_r50.json').read_text())


@pytest.fixture
def authors_state(spec, seeded) -> dict:
    """State dict with the authors' keys, filled by seeded.py."""
    return {
        key: torch.from_numpy(np.asarray(seeded.array_for(key, tuple(shape), spec['seed'], spec['threshold'])))
        for key, shape in spec['state'].items()
    }


@pytest.fixture
def model(config, spec, authors_state, converter):
    """The model of the NYUDv2 config with ResNet-50, without dropout, and with the authors' parameters."""
    cfg = config('cen_refinenet_r101_nyudv2.py')
    cfg.merge_from_dict(
        {
            'model.backbone.depth': int(spec['num_layers']),
            'model.backbone.threshold': spec['threshold'],
            'model.decode_head.num_classes': spec['num_classes'],
            'model.neck.dropout_ratio': 0,
            'model.decode_head.dropout_ratio': 0,
        }
    )
    model = MODELS.build(cfg.model).double()
    model.load_state_dict(converter.convert(authors_state))
    return model


@pytest.fixture
def inputs(spec, seeded) -> torch.Tensor:
    images = [seeded.seeded_input(tag, spec['input_shape'], spec['seed']) for tag in ('rgb', 'depth')]
    return torch.from_numpy(np.concatenate(images, axis=1))


@pytest.fixture
def samples(spec) -> list:
    rng = np.random.default_rng([spec['seed'], 7])
    batch, _, *size = spec['input_shape']
    labels = rng.integers(0, spec['num_classes'], (batch, *size))
    labels[rng.random(labels.shape) < 0.1] = 255
    return [SegDataSample(gt_sem_seg=PixelData(data=torch.from_numpy(label)[None])) for label in labels]


def test_logits(model, inputs, want):
    with torch.no_grad():
        branches = model.eval().branches(inputs)
    for name, key in (('rgb', 'logits_rgb'), ('depth', 'logits_depth'), ('ensemble', 'logits_ens')):
        np.testing.assert_allclose(branches[name], want[key], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(model.ensemble.alpha.softmax(0).detach(), want['alpha_soft'], rtol=1e-9)


def test_two_training_steps(model, inputs, samples, want):
    parameters = dict(model.named_parameters())
    names = [refinenet_keys.to_ours(name) for name in want['param_names']]
    groups = [
        [parameters[n] for n, flag in zip(names, want['encoder_param']) if flag == encoder] for encoder in (1, 0)
    ]
    assert all(('backbone' in name) == encoder for name, encoder in zip(names, want['encoder_param']))
    optimizer = torch.optim.SGD(
        [dict(params=groups[0], lr=5e-7), dict(params=groups[1], lr=3e-6)], momentum=0.9, weight_decay=1e-5
    )
    model.train()
    for step in range(2):
        loss, _ = model.parse_losses(model.loss(inputs, samples))
        np.testing.assert_allclose(loss.item(), want['losses'][step], rtol=1e-9)
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            gradients = [parameters[name].grad.norm().item() for name in names]
            np.testing.assert_allclose(gradients, want['grad_norm'], rtol=1e-7)
        optimizer.step()
        penalty = model.sparsity(model).item() / model.sparsity.loss_weight
        np.testing.assert_allclose(penalty, want['l1'][step], rtol=1e-9)
    sums = [parameters[name].sum().item() for name in names]
    np.testing.assert_allclose(sums, want['param_sum_after'], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(('depth', 'classes', 'prefix'), [(50, 6, 'module.'), (101, 4, ''), (152, 40, '')])
def test_converter_command_round_trip(tmp_path, depth, classes, prefix):
    cfg = Config.fromfile(ROOT / 'configs/cen_refinenet_r101_nyudv2.py')
    cfg.merge_from_dict({'model.backbone.depth': depth, 'model.decode_head.num_classes': classes})
    converter = [sys.executable, str(ROOT / 'tools/model_converters/cen_to_mm.py')]
    model = init_model(cfg, device='cpu')
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'ours.pth')
    subprocess.run([*converter, tmp_path / 'ours.pth', tmp_path / 'authors.pth', '--reverse'], check=True)
    state = torch.load(tmp_path / 'authors.pth', weights_only=True)['segmenter']
    state = {prefix + key: value for key, value in state.items()}
    torch.save({'segmenter': state, 'epoch_start': 3}, tmp_path / 'authors.pth')
    command = [*converter, tmp_path / 'authors.pth', tmp_path / 'back.pth']
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert f'ResNet-{depth}, {classes} classes, 2 modalities' in output
    back = init_model(cfg, tmp_path / 'back.pth', device='cpu').state_dict()
    assert all(torch.equal(back[key], value) for key, value in model.state_dict().items())


def test_converter_round_trip_keeps_every_key(authors_state, converter):
    back = converter.convert(converter.convert(authors_state), reverse=True)
    assert list(back) == list(authors_state)
    assert all(back[key] is authors_state[key] for key in authors_state)


def test_converter_reports_unknown_keys(authors_state, converter):
    with pytest.raises(ValueError, match=r'1 keys are unknown in .*: fc\.weight'):
        converter.convert({**authors_state, 'fc.weight': torch.zeros(1)})
    with pytest.raises(ValueError, match='2 keys are unknown in cen_mm: alpha, clf_conv'):
        converter.convert({'alpha': 0, 'clf_conv.module.bias': 0}, reverse=True)
