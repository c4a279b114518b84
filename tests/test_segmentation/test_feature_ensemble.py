"""The ensemble that is decoded from the mean of the branches' features."""

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from cen_mm.apis.baked_exchange import bake_exchange
from cen_mm.exchange import ExchangeNorm, exchanging_norms

NAMES = ('rgb', 'depth', 'normal')
INPUTS = torch.linspace(-2, 2, 2 * 9 * 64 * 64).sin().view(2, 9, 64, 64)


@pytest.fixture
def build(tiny_model):
    """Returns a function that builds a model with ``feature_ensemble`` whose exchange replaces many channels."""

    def make(names=NAMES, **options):
        settings = dict(mean=[0.0] * 3, std=[1.0] * 3)
        model = tiny_model(
            {
                'data_preprocessor.modalities': dict(_delete_=True, **dict.fromkeys(names, settings)),
                'backbone': dict(base_channels=16, threshold=0.8),
                'neck': dict(in_channels=[16, 32, 64, 128], channels=16, top_channels=16, dropout_ratio=0),
                'decode_head': dict(in_channels=16, dropout_ratio=0),
                'feature_ensemble': True,
                **options,
            }
        )
        for name, tensor in model.state_dict().items():
            if '.norms.' in name and tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5)
        torch.nn.init.uniform_(model.ensemble.alpha, -1, 1)
        return model

    return make


# A neck and a head with batch norms, whose statistics differ between the branches and the ensemble
NORMS = dict(
    neck=dict(
        _delete_=True,
        type='mmseg.FPN',
        in_channels=[16, 32, 64, 128],
        out_channels=16,
        num_outs=4,
        norm_cfg=dict(type='BN'),
    ),
    decode_head=dict(
        _delete_=True,
        type='mmseg.FPNHead',
        in_channels=[16] * 4,
        in_index=[0, 1, 2, 3],
        feature_strides=[4, 8, 16, 32],
        channels=16,
        num_classes=5,
        dropout_ratio=0,
        norm_cfg=dict(type='BN'),
        align_corners=False,
        loss_decode=dict(type='mmseg.CrossEntropyLoss'),
    ),
)


def test_ensemble_is_decoded_from_the_mean_of_the_features(build):
    """Everything else is CEN, whose checkpoints fit."""
    model, cen = build().eval(), build(feature_ensemble=False).eval()
    cen.load_state_dict(model.state_dict())
    with torch.no_grad():
        got, want = model.branches(INPUTS), cen.branches(INPUTS)
        stacked = torch.cat(INPUTS.chunk(3, dim=1))
        weights = model.ensemble.alpha.softmax(0).view(3, 1, 1, 1, 1)
        means = [(weights * maps.unflatten(0, (3, 2))).sum(0) for maps in cen.backbone(stacked)]
        want['ensemble'] = cen.decode_head(cen.neck(means))
    assert list(got) == [*NAMES, 'ensemble']
    for name in got:
        torch.testing.assert_close(got[name], want[name])


def test_loss_of_the_ensemble_trains_everything_and_those_of_the_branches_have_a_weight(build):
    model = build().train()
    label = torch.randint(0, 5, (1, 64, 64))
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for _ in INPUTS]
    losses = model.loss(INPUTS, samples)
    losses['ensemble.loss_ce'].backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    weighted = build(branch_loss_weight=0.25).train()
    weighted.load_state_dict(model.state_dict())
    for key, value in weighted.loss(INPUTS, samples).items():
        is_branch = key.endswith('loss_ce') and not key.startswith('ensemble')
        torch.testing.assert_close(value, losses[key] * (0.25 if is_branch else 1))


@pytest.mark.parametrize('training', [False, True], ids=['eval', 'training'])
@pytest.mark.parametrize('options', [NORMS, {**NORMS, 'per_modality_convs': True}], ids=['norms', 'convolutions'])
def test_ensemble_has_its_own_norms_and_available_modalities_keep_theirs(build, options, training):
    model = build(**options).train(training)
    assert {m.modalities for m in model.backbone.modules() if isinstance(m, ExchangeNorm)} == {NAMES}
    assert {m.modalities for m in model.decode_head.modules() if isinstance(m, ExchangeNorm)} == {
        (*NAMES, '_ensemble')
    }
    with torch.no_grad():
        pair = model.branches(INPUTS[:, 3:], ['depth', 'normal'])
        alone = model.branches(INPUTS[:, 6:], ['normal'])
        swapped = model.branches(INPUTS[:, 3:].roll(3, dims=1), ['normal', 'depth'])
        for _, norm in exchanging_norms(model):
            norm.threshold = None
        want = model.branches(INPUTS)
    assert list(pair) == ['depth', 'normal', 'ensemble']
    for name in pair:
        torch.testing.assert_close(swapped[name], pair[name])
    assert torch.equal(alone['ensemble'], alone['normal'])
    torch.testing.assert_close(alone['normal'], want['normal'])


@pytest.mark.parametrize('available', [NAMES, ('rgb', 'normal'), ('depth',)])
def test_exported_network_equals_the_model(build, available):
    model = build(**NORMS, available_modalities=available).eval()
    inputs = torch.cat([INPUTS.chunk(3, dim=1)[NAMES.index(name)] for name in available], dim=1)
    with torch.no_grad():
        want = model.branches(inputs)
        bake_exchange(model)
        got = model.branches(inputs)
    for name in want:
        torch.testing.assert_close(got[name], want[name], rtol=1e-3, atol=1e-4)


def test_dropout_keeps_statistics_apart_behind_the_backbone_too(build):
    model = build(**NORMS, modality_dropout=0.5)
    norms = [module for module in model.modules() if isinstance(module, ExchangeNorm)]
    assert all(norm.partial_mean is not None for norm in norms)


def test_with_one_modality_it_is_the_network_of_that_modality(build):
    model = build(['rgb'], **NORMS).eval()
    with torch.no_grad():
        got = model.branches(INPUTS[:, :3])
    assert torch.equal(got['ensemble'], got['rgb'])
    assert {norm.modalities for norm in model.modules() if isinstance(norm, ExchangeNorm)} == {('rgb',)}


def test_invalid_options_raise_clear_errors(build, tiny_model):
    with pytest.raises(ValueError, match='branch_loss_weight=-1 is not a weight: use a number of 0 or more'):
        build(branch_loss_weight=-1)
    options = {'type': 'cen_mm.FusionSegmentor', 'feature_ensemble': True, 'branch_loss_weight': 0.0}
    with pytest.raises(ValueError, match='has no branches: remove feature_ensemble, branch_loss_weight'):
        tiny_model(options)
