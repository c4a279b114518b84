"""Translation reproduces the authors' results exactly (float64). See tests/data/parity/README.md for their source."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip('mmagic')

from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement
from unet_keys import to_ours

import cen_mm.translation  # noqa: F401
from cen_mm.apis import init_model

ROOT = Path(__file__).parents[2]
PARITY = ROOT / 'tests/data/parity'
BRANCHES = {'reshading': 'shade', 'edge_texture': 'texture', 'ensemble': 'ens'}


@pytest.fixture(scope='module')
def want(parity):
    return parity('translation_ngf8.npz')


@pytest.fixture(scope='module')
def spec():
    return json.loads((PARITY / 'translation_ngf8.json').read_text())


@pytest.fixture
def authors_states(spec, seeded) -> dict:
    """State dicts of the authors' generator and discriminator."""
    return {
        network: {
            key: torch.from_numpy(
                np.asarray(seeded.array_for(key, tuple(shape), seed, spec['threshold'], spec['gain']))
            )
            for key, shape in spec[network].items()
        }
        for network, seed in (('generator', spec['seed']), ('discriminator', spec['disc_seed']))
    }


@pytest.fixture
def cfg(config, spec):
    """The shade and texture to RGB config, narrow and without dropout."""
    cfg = config('cen_unet_shade-texture2rgb_taskonomy.py')
    cfg.merge_from_dict(
        {
            'model.generator.base_channels': spec['ngf'],
            'model.generator.threshold': spec['threshold'],
            'model.generator.dropout_ratio': 0,
            'model.discriminator.base_channels': spec['ndf'],
        }
    )
    return cfg


@pytest.fixture
def model(cfg, authors_states, converter):
    """The model of ``cfg`` with the authors' parameters."""
    model = MODELS.build(cfg.model).double()
    networks = [converter.convert(state_dict, network=network) for network, state_dict in authors_states.items()]
    model.load_state_dict({**networks[0], **networks[1]})
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
    for name, authors_name in BRANCHES.items():
        np.testing.assert_allclose(
            branches[name][:, :, ::16, ::16], want[f'{mode}_{authors_name}'], rtol=1e-9, atol=1e-12
        )


@torch.no_grad()
def test_outputs_with_batch_statistics(model, inputs, want):
    check(model.train().branches(inputs), want, 'train')
    check(model.eval().branches(inputs), want, 'train')  # the default eval mode uses the statistics of each image


@torch.no_grad()
def test_outputs_with_the_running_statistics(model, inputs, want):
    for module in model.modules():
        if hasattr(module, 'batch_stats_in_eval'):
            module.batch_stats_in_eval = False  # the eval mode of torch, and of a generator without CENTranslation
    check(model.eval().branches(inputs), want, 'eval')


def test_three_gan_steps(model, inputs, images, want, spec):
    parameters = dict(model.named_parameters())
    names = {
        'generators': [to_ours(name, 'generator') for name in want['g_param_names']],
        'discriminators': [to_ours(name, 'discriminator') for name in want['d_param_names']],
    }
    gradients = {}

    class Wrapper(OptimWrapper):
        """Stores the norms of the gradients before the first update."""

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
    for name, authors_name in (
        ('loss_disc', 'd_loss'),
        ('loss_gen', 'g_loss'),
        ('loss_gan', 'g_gan'),
        ('loss_pixel', 'g_pixel'),
        ('loss_sparsity', 'g_sparsity'),
    ):
        np.testing.assert_allclose([log[name].item() for log in logs], want[authors_name], rtol=1e-9, err_msg=name)
    np.testing.assert_allclose(gradients['generators'], want['g_grad_norm'], rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(gradients['discriminators'], want['d_grad_norm'], rtol=1e-7, atol=1e-12)


@pytest.fixture
def convert(authors_states, tmp_path):
    """Returns a function that runs the converter in a folder with the authors' checkpoints and returns its output."""
    torch.save(authors_states['generator'], tmp_path / 'checkpoint-gen.pkl')
    wrapped = {f'module.{key}': value for key, value in authors_states['discriminator'].items()}
    torch.save({'epoch': 3, 'discriminator': wrapped}, tmp_path / 'checkpoint-dis.pkl')

    def run(*arguments: str) -> str:
        command = [sys.executable, ROOT / 'tools/model_converters/cen_to_mm.py', '--task', 'translation', *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    return run


@torch.no_grad()
def test_checkpoints_convert_and_convert_back(convert, authors_states, cfg, inputs, want, tmp_path):
    output = convert('checkpoint-gen.pkl', 'ours.pth', '--discriminator', 'checkpoint-dis.pkl')
    assert output == (
        'ours.pth: CEN U-Net of 8 levels, base width 8, 2 modalities, with discriminator of base width 8. In the '
        'config, set model.generator.base_channels to 8, model.discriminator.base_channels to 8.\n'
    )
    torch.set_default_dtype(torch.float64)
    try:
        model = init_model(cfg, tmp_path / 'ours.pth', device='cpu')
    finally:
        torch.set_default_dtype(torch.float32)
    check(model.branches(inputs), want, 'train')
    layer = model.discriminators.target.layers[2]
    assert torch.equal(layer.conv.weight, authors_states['discriminator']['conv3.conv.module.weight'])
    convert('ours.pth', 'gen.pkl', '--discriminator', 'dis.pkl', '--reverse')
    for name, network in (('gen.pkl', 'generator'), ('dis.pkl', 'discriminator')):
        converted_back = torch.load(tmp_path / name, weights_only=True)
        assert list(converted_back) == list(authors_states[network])
        assert all(torch.equal(converted_back[key], value) for key, value in authors_states[network].items())


@torch.no_grad()
def test_testing_needs_no_discriminator(convert, model, cfg, inputs, tmp_path):
    assert ', without discriminator. ' in convert('checkpoint-gen.pkl', 'ours.pth')
    generator_only = init_model(cfg, tmp_path / 'ours.pth', device='cpu').double()
    cfg.model.discriminator = None
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'both.pth')
    no_discriminator = init_model(cfg, tmp_path / 'both.pth', device='cpu').double()
    assert no_discriminator.discriminators is None
    ensemble = model.eval().float().double().branches(inputs)['ensemble']  # checkpoints are loaded as float32
    for loaded in (generator_only, no_discriminator):
        assert torch.equal(loaded.branches(inputs)['ensemble'], ensemble)
    for layer in ('discriminators.target.layers.0', 'encoder.0'):
        incomplete = {key: value for key, value in model.state_dict().items() if layer not in key}
        with pytest.raises(RuntimeError, match='Missing key'):
            model.load_state_dict(incomplete)


INVALID_COMMANDS = {
    'discriminator for generator': (
        ['checkpoint-dis.pkl', 'o'], r'checkpoint-dis.pkl: 25 keys .* conv1\.insnorm\.module\.weight.* its generator'
    ),
    'generator for discriminator': (
        ['checkpoint-gen.pkl', 'o', '--discriminator', 'checkpoint-gen.pkl'], 'keys are unknown .* its discriminator'
    ),
    'authors checkpoint in reverse': (
        ['checkpoint-gen.pkl', 'o', '--reverse'], '193 keys are unknown in cen_mm: alpha.*remove'
    ),
    'no discriminator to write': (
        ['generator.pth', 'o', '--reverse', '--discriminator', 'd'], 'generator.pth: .* contains no discriminator'
    ),
    'incomplete generator': (
        ['incomplete.pkl', 'o'], 'lacks generators.target.decoder.7.conv.weight: it is not a complete'
    ),
    'no file': (['none.pkl', 'o'], 'none.pkl does not exist: give the path'),
    'no weights': (['text.pkl', 'o'], 'text.pkl is not a checkpoint, or it is damaged or cut off'),
    'discriminator of segmentation': (
        ['checkpoint-gen.pkl', 'o', '--discriminator', 'd', '--task', 'segmentation'], 'is only for translation'
    ),
}  # fmt: skip


@pytest.mark.parametrize('name', INVALID_COMMANDS)
def test_converter_raises_clear_errors(convert, converter, authors_states, tmp_path, monkeypatch, name):
    generator = authors_states['generator']
    torch.save(converter.convert(generator, network='generator'), tmp_path / 'generator.pth')
    torch.save({key: value for key, value in generator.items() if 'deconv8' not in key}, tmp_path / 'incomplete.pkl')
    (tmp_path / 'text.pkl').write_text('no weights')
    arguments, message = INVALID_COMMANDS[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['cen_to_mm.py', '--task', 'translation', *arguments])
    with pytest.raises(SystemExit, match=message):
        converter.main()
    assert not (tmp_path / 'o').exists()
