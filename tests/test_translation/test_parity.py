"""Translation equals the authors' code in float64: see tests/data/parity/README.md for what made the numbers."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip('mmagic')

from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement

import cen_mm.translation  # noqa: F401

PARITY = Path(__file__).parents[1] / 'data/parity'
BRANCHES = {'reshading': 'shade', 'edge_texture': 'texture', 'ensemble': 'ens'}


def to_ours(key: str, network: str) -> str:
    """Our name of a key of the authors' 'generator' or 'discriminator'."""
    if key == 'alpha':
        return 'generators.target.ensemble.alpha'
    kind, number, layer, rest = re.fullmatch(r'(conv|deconv)(\d)\.(conv|deconv|insnorm\w*)\.(.*)', key).groups()
    levels = {
        ('generator', 'conv'): 'generators.target.encoder',
        ('generator', 'deconv'): 'generators.target.decoder',
        ('discriminator', 'conv'): 'discriminators.target.levels',
    }[network, kind]
    layer = 'norm' if layer.startswith('insnorm') else 'conv'
    rest = re.sub(r'^insnorm_(\d+)\.', r'norms.\1.', rest.replace('module.', ''))
    return f'{levels}.{int(number) - 1}.{layer}.{rest}'


@pytest.fixture(scope='module')
def want(parity):
    return parity('translation_ngf8.npz')


@pytest.fixture(scope='module')
def spec():
    return json.loads((PARITY / 'translation_ngf8.json').read_text())


@pytest.fixture
def model(config, spec, seeded):
    """The recipe's model, narrow and without dropout, holding the authors' parameters."""
    cfg = config('_base_/models/cen_unet.py')
    cfg.merge_from_dict(
        {
            'model.generator.base_channels': spec['ngf'],
            'model.generator.threshold': spec['threshold'],
            'model.generator.dropout_ratio': 0,
            'model.discriminator.base_channels': spec['ndf'],
        }
    )
    model = MODELS.build(cfg.model).double()
    state_dict = {}
    for network, seed in (('generator', spec['seed']), ('discriminator', spec['disc_seed'])):
        theirs = {
            key: torch.from_numpy(
                np.asarray(seeded.array_for(key, tuple(shape), seed, spec['threshold'], spec['gain']))
            )
            for key, shape in spec[network].items()
        }
        state_dict.update({to_ours(key, network): value for key, value in theirs.items()})
    model.load_state_dict(state_dict)
    return model


@pytest.fixture
def images(spec, seeded) -> dict:
    shape = (spec['batch'], 3, spec['size'], spec['size'])
    return {
        tag: torch.from_numpy(np.tanh(seeded.seeded_input(tag, shape, spec['seed'])))
        for tag in ('shade', 'texture', 'rgb')
    }


@pytest.fixture
def inputs(images) -> torch.Tensor:
    return torch.cat([images['shade'], images['texture']], dim=1)


def check(branches: dict, want, mode: str) -> None:
    for name, theirs in BRANCHES.items():
        np.testing.assert_allclose(branches[name][:, :, ::16, ::16], want[f'{mode}_{theirs}'], rtol=1e-9, atol=1e-12)


@torch.no_grad()
def test_outputs_of_both_modes(model, inputs, want):
    check(model.train().branches(inputs), want, 'train')
    check(model.eval().branches(inputs), want, 'train')  # the default test: the image's own statistics


@torch.no_grad()
def test_outputs_with_the_running_statistics(model, inputs, want):
    for module in model.modules():
        if hasattr(module, 'own_statistics'):
            module.own_statistics = False  # torch's eval mode, and that of the generator built alone
    check(model.eval().branches(inputs), want, 'eval')


def test_three_gan_steps(model, inputs, images, want, spec):
    parameters = dict(model.named_parameters())
    names = {
        'generators': [to_ours(name, 'generator') for name in want['g_param_names']],
        'discriminators': [to_ours(name, 'discriminator') for name in want['d_param_names']],
    }
    gradients = {}

    class Wrapper(OptimWrapper):
        """Notes the gradients' norms before the first update."""

        def step(self, **kwargs):
            network = 'generators' if self is wrappers['generators'] else 'discriminators'
            norms = [0.0 if parameters[n].grad is None else parameters[n].grad.norm().item() for n in names[network]]
            gradients.setdefault(network, norms)
            super().step(**kwargs)

    wrappers = OptimWrapperDict(
        **{
            name: Wrapper(torch.optim.Adam(getattr(model, name).parameters(), lr=2e-4, betas=(0.5, 0.999)))
            for name in names
        }
    )
    data = dict(inputs=inputs, data_samples=[BaseDataElement(gt_img=image) for image in images['rgb']])
    logs = [model.train_step(data, wrappers) for _ in range(spec['iters'])]
    for ours, theirs in (
        ('loss_disc', 'd_loss'),
        ('loss_gen', 'g_loss'),
        ('loss_gan', 'g_gan'),
        ('loss_pixel', 'g_pixel'),
        ('loss_sparsity', 'g_sparsity'),
    ):
        np.testing.assert_allclose([log[ours].item() for log in logs], want[theirs], rtol=1e-9, err_msg=ours)
    np.testing.assert_allclose(gradients['generators'], want['g_grad_norm'], rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(gradients['discriminators'], want['d_grad_norm'], rtol=1e-7, atol=1e-12)
