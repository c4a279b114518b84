"""Missing modalities in translation: what is left is what the same parameters make of it alone."""

import pytest
import torch

pytest.importorskip('mmagic')

from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import BaseDataElement

import cen_mm.translation  # noqa: F401

NAMES = ('reshading', 'edge_texture', 'normal')


@pytest.fixture
def build(config):
    """A narrow model whose encoder's norms are in large part under the threshold, or do not exchange."""

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
def test_one_present_equals_exchange_off(build, num_modalities, dtype):
    names = NAMES[:num_modalities]
    model, off = build(names).to(dtype), build(names, threshold=0).to(dtype)
    off.load_state_dict(model.state_dict())
    inputs = torch.rand(2, 3 * num_modalities, 32, 64, dtype=dtype) * 2 - 1
    exchanged, want = model.branches(inputs), off.branches(inputs)
    for name, image in zip(names, inputs.split(3, dim=1)):
        got = model.branches(image, present=[name])
        assert list(got) == [name, 'ensemble']
        assert torch.equal(got[name], want[name])
        assert torch.equal(got['ensemble'], want[name])
        assert torch.equal(exchanged[name], want[name]) == (num_modalities == 1)


@torch.no_grad()
def test_two_of_three_equal_a_model_of_those_two(build):
    present = ('normal', 'reshading')
    three, two = build(present=present), build(present)
    state = three.state_dict()
    for key, value in two.state_dict().items():
        before, norms, after = key.partition('.norms.')
        if norms and key.startswith('generators'):
            value.copy_(state[f'{before}.norms.{NAMES.index(present[int(after[0])])}{after[1:]}'])
        elif 'alpha' in key:
            value.copy_(state[key][[2, 0]])
        else:
            value.copy_(state[key])
    images = torch.rand(2, 6, 32, 64)
    want = two.branches(images)
    samples = three.test_step(dict(inputs=list(images), data_samples=[BaseDataElement() for _ in images]))
    for i, sample in enumerate(samples):
        assert list(sample.branches) == [*present, 'ensemble']
        assert all(torch.equal(sample.branches[name], want[name][i]) for name in want)


def test_what_cannot_work_ends_in_one_sentence(build):
    with pytest.raises(
        ValueError, match=r"present=\['shade'\] does not fit a model of reshading, edge_texture, normal"
    ):
        build(present=['shade'])
    with pytest.raises(ValueError, match=r"9 channels, but present=\['normal'\] needs 3"):
        build().branches(torch.zeros(1, 9, 32, 32), present=['normal'])
