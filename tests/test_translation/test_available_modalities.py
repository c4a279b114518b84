"""With missing modalities, the outputs equal those of a model of the available modalities with the same parameters."""

import pytest
import torch

pytest.importorskip('mmagic')

from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import BaseDataElement

import cen_mm.translation  # noqa: F401

NAMES = ('reshading', 'edge_texture', 'normal')


@pytest.fixture
def build(config):
    """Returns a function that builds a narrow model whose norms are random, with many scales below 0.8."""

    def make(names=NAMES, threshold=0.8, **options):
        init_default_scope('mmagic')
        torch.manual_seed(0)
        cfg = config('_base_/models/cen_unet.py').model
        cfg.modalities = list(names)
        cfg.generator.update(base_channels=4, num_levels=5, threshold=threshold)
        cfg.discriminator.base_channels = 4
        cfg.update(options)
        model = MODELS.build(cfg)
        for name, tensor in model.generators.state_dict().items():
            if '.norms.' in name and tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5)
        model.generators['target'].ensemble.alpha.data.uniform_(-1, 1)
        return model.eval()

    return make


@torch.no_grad()
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('num_modalities', [1, 2, 3])
def test_one_available_modality_equals_no_exchange(build, num_modalities, dtype):
    names = NAMES[:num_modalities]
    model, no_exchange = build(names).to(dtype), build(names, threshold=0).to(dtype)
    no_exchange.load_state_dict(model.state_dict())
    inputs = torch.rand(2, 3 * num_modalities, 32, 64, dtype=dtype) * 2 - 1
    exchanged, want = model.branches(inputs), no_exchange.branches(inputs)
    for name, image in zip(names, inputs.split(3, dim=1)):
        got = model.branches(image, available_modalities=[name])
        assert list(got) == [name, 'ensemble']
        assert torch.equal(got[name], want[name])
        assert torch.equal(got['ensemble'], want[name])
        assert torch.equal(exchanged[name], want[name]) == (num_modalities == 1)


@torch.no_grad()
def test_two_of_three_modalities_equal_a_model_of_two(build):
    available = ('normal', 'reshading')
    three, two = build(available_modalities=available), build(available)
    state = three.state_dict()
    for key, value in two.state_dict().items():
        prefix, norms, suffix = key.partition('.norms.')
        if norms and key.startswith('generators'):
            value.copy_(state[f'{prefix}.norms.{NAMES.index(available[int(suffix[0])])}{suffix[1:]}'])
        elif 'alpha' in key:
            value.copy_(state[key][[2, 0]])
        else:
            value.copy_(state[key])
    images = torch.rand(2, 6, 32, 64)
    want = two.branches(images)
    samples = three.test_step(dict(inputs=list(images), data_samples=[BaseDataElement() for _ in images]))
    for i, sample in enumerate(samples):
        assert list(sample.branches) == [*available, 'ensemble']
        assert all(torch.equal(sample.branches[name], want[name][i]) for name in want)


def test_invalid_arguments_raise_clear_errors(build):
    with pytest.raises(
        ValueError,
        match=r"available_modalities=\['shade'\] does not match .* of the model, reshading, edge_texture, normal",
    ):
        build(available_modalities=['shade'])
    with pytest.raises(ValueError, match=r"9 channels, but available_modalities=\['normal'\] needs 3"):
        build().branches(torch.zeros(1, 9, 32, 32), available_modalities=['normal'])
