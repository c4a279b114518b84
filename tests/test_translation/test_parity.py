"""Translation equals the authors' code in float64: see tests/data/parity/README.md for what made the numbers."""

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
def theirs(spec, seeded) -> dict:
    """The authors' two checkpoints."""
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
    """The recipe, narrow and without dropout."""
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
def model(cfg, theirs, converter):
    """The recipe's model, holding the authors' parameters."""
    model = MODELS.build(cfg.model).double()
    networks = [converter.convert(state_dict, network=network) for network, state_dict in theirs.items()]
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


@pytest.fixture
def convert(theirs, tmp_path):
    """Runs the converter as a command in a folder that holds the authors' files, and returns what it says."""
    torch.save(theirs['generator'], tmp_path / 'checkpoint-gen.pkl')
    wrapped = {f'module.{key}': value for key, value in theirs['discriminator'].items()}
    torch.save({'epoch': 3, 'discriminator': wrapped}, tmp_path / 'checkpoint-dis.pkl')

    def run(*arguments: str) -> str:
        command = [sys.executable, ROOT / 'tools/model_converters/cen_to_mm.py', '--task', 'translation', *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    return run


@torch.no_grad()
def test_their_checkpoints_through_the_command_and_back(convert, theirs, cfg, inputs, want, tmp_path):
    said = convert('checkpoint-gen.pkl', 'ours.pth', '--discriminator', 'checkpoint-dis.pkl')
    assert said == (
        'ours.pth: CEN U-Net of 8 levels, base width 8, 2 modalities, with discriminator of base width 8. In the '
        'config, set model.generator.base_channels to 8, model.discriminator.base_channels to 8.\n'
    )
    torch.set_default_dtype(torch.float64)
    try:
        model = init_model(cfg, tmp_path / 'ours.pth', device='cpu')
    finally:
        torch.set_default_dtype(torch.float32)
    check(model.branches(inputs), want, 'train')
    level = model.discriminators.target.levels[2]
    assert torch.equal(level.conv.weight, theirs['discriminator']['conv3.conv.module.weight'])
    convert('ours.pth', 'gen.pkl', '--discriminator', 'dis.pkl', '--reverse')
    for name, network in (('gen.pkl', 'generator'), ('dis.pkl', 'discriminator')):
        back = torch.load(tmp_path / name, weights_only=True)
        assert list(back) == list(theirs[network])
        assert all(torch.equal(back[key], value) for key, value in theirs[network].items())


@torch.no_grad()
def test_a_generator_alone_is_enough_for_tests(convert, model, cfg, inputs, tmp_path):
    assert ', without discriminator. ' in convert('checkpoint-gen.pkl', 'ours.pth')
    alone = init_model(cfg, tmp_path / 'ours.pth', device='cpu').double()
    cfg.model.discriminator = None
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'both.pth')
    without = init_model(cfg, tmp_path / 'both.pth', device='cpu').double()
    assert without.discriminators is None
    wanted = model.eval().float().double().branches(inputs)['ensemble']  # files are read into float32
    for loaded in (alone, without):
        assert torch.equal(loaded.branches(inputs)['ensemble'], wanted)
    half = {key: value for key, value in model.state_dict().items() if 'discriminators.target.levels.0' not in key}
    for wrong in (half, {key: value for key, value in model.state_dict().items() if 'encoder.0' not in key}):
        with pytest.raises(RuntimeError, match='Missing key'):
            model.load_state_dict(wrong)


MISTAKES = {
    'discriminator for generator': (
        ['checkpoint-dis.pkl', 'o'], r'checkpoint-dis.pkl: 25 keys .* conv1\.insnorm\.module\.weight.* its generator'
    ),
    'generator for discriminator': (
        ['checkpoint-gen.pkl', 'o', '--discriminator', 'checkpoint-gen.pkl'], 'keys are not of .* its discriminator'
    ),
    'theirs in reverse': (['checkpoint-gen.pkl', 'o', '--reverse'], '193 keys are not of cen_mm: alpha.*drop --rev'),
    'no discriminator to write': (
        ['alone.pth', 'o', '--reverse', '--discriminator', 'd'], 'alone.pth: it holds no discriminator, so drop'
    ),
    'half a generator': (['half.pkl', 'o'], 'lacks generators.target.decoder.7.conv.weight: it is no whole generator'),
    'no file': (['none.pkl', 'o'], 'none.pkl does not exist: give the path'),
    'no weights': (['text.pkl', 'o'], 'text.pkl is no file of weights: write it with torch.save'),
    'discriminator of segmentation': (
        ['checkpoint-gen.pkl', 'o', '--discriminator', 'd', '--task', 'segmentation'], 'belongs to translation'
    ),
}  # fmt: skip


@pytest.mark.parametrize('name', MISTAKES)
def test_converters_mistakes_end_in_one_sentence(convert, converter, theirs, tmp_path, monkeypatch, name):
    generator = theirs['generator']
    torch.save(converter.convert(generator, network='generator'), tmp_path / 'alone.pth')
    torch.save({key: value for key, value in generator.items() if 'deconv8' not in key}, tmp_path / 'half.pkl')
    (tmp_path / 'text.pkl').write_text('no weights')
    arguments, sentence = MISTAKES[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['cen_to_mm.py', '--task', 'translation', *arguments])
    with pytest.raises(SystemExit, match=sentence):
        converter.main()
    assert not (tmp_path / 'o').exists()
