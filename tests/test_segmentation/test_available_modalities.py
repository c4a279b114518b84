"""With missing modalities, the outputs equal those of a model of the available modalities with equal parameters."""

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.runner.activation_checkpointing import turn_on_activation_checkpointing
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from cen_mm.exchange import exchanging_norms

NAMES = ('rgb', 'depth', 'normal', 'reshading')
THRESHOLD = 0.8


@pytest.fixture
def build(tiny_model):
    """Returns a function that builds a model without dropout, with random norms and many scales below THRESHOLD."""

    def make(names=NAMES, **options):
        settings = dict(mean=[0.0] * 3, std=[1.0] * 3)
        options = {
            'data_preprocessor.modalities': dict(_delete_=True, **dict.fromkeys(names, settings)),
            'backbone.base_channels': 16,
            'neck': dict(in_channels=[16, 32, 64, 128], channels=16, top_channels=16, dropout_ratio=0),
            'decode_head': dict(in_channels=16, dropout_ratio=0),
            'backbone.threshold': THRESHOLD,
            **options,
        }
        model = tiny_model(options)
        for name, tensor in model.state_dict().items():
            if '.norms.' in name and tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5)
        model.ensemble.alpha.data.uniform_(-1, 1)
        return model

    return make


def disable_exchange(model):
    for _, norm in list(exchanging_norms(model)):
        norm.threshold = None


@pytest.mark.parametrize('training', [False, True], ids=['eval', 'training'])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('num_modalities', [1, 2, 3, 4])
def test_one_available_modality_equals_no_exchange(build, num_modalities, dtype, training):
    names = NAMES[:num_modalities]
    model = build(names).to(dtype).train(training)
    inputs = torch.randn(2, 3 * num_modalities, 64, 64, dtype=dtype)
    with torch.no_grad():
        exchanged = model.branches(inputs)
        single = [
            model.branches(image, available_modalities=[name]) for image, name in zip(inputs.split(3, dim=1), names)
        ]
        disable_exchange(model)
        want = model.branches(inputs)
    assert list(exchanged) == [*names, 'ensemble']
    for name, got in zip(names, single):
        assert list(got) == [name, 'ensemble']
        assert torch.equal(got[name], want[name])
        assert torch.equal(got['ensemble'], want[name])
        assert torch.equal(exchanged[name], want[name]) == (num_modalities == 1)


@pytest.mark.parametrize('training', [False, True], ids=['eval', 'training'])
@pytest.mark.parametrize('available', [('rgb', 'normal'), ('rgb', 'depth'), ('depth', 'normal')])
def test_two_of_three_modalities_equal_a_model_of_two(build, available, training):
    three, two = build(NAMES[:3]).train(training), build(available).train(training)
    state = three.state_dict()
    for key in two.state_dict():
        before, norms, after = key.partition('.norms.')
        number, rest = after[:1], after[1:]
        if norms:
            state[key] = three.state_dict()[f'{before}.norms.{NAMES.index(available[int(number)])}{rest}']
    state['ensemble.alpha'] = state['ensemble.alpha'][[NAMES.index(name) for name in available]]
    two.load_state_dict({key: state[key] for key in two.state_dict()})
    inputs = torch.randn(2, 6, 64, 64)
    with torch.no_grad():
        got, want = three.branches(inputs, available), two.branches(inputs)
        disable_exchange(two)
        assert not torch.equal(two.branches(inputs)['rgb' if 'rgb' in available else 'depth'], want[available[0]])
    assert list(got) == list(want) == [*available, 'ensemble']
    assert all(torch.equal(got[name], want[name]) for name in want)


@pytest.mark.parametrize(
    'options', [dict(per_modality_convs=True), {'per_modality_norms': False, 'backbone.exchange': None}]
)
def test_per_modality_and_shared_layers_with_missing_modalities(build, options):
    model = build(NAMES[:3], **options).eval()
    inputs = torch.randn(2, 9, 64, 64)
    with torch.no_grad():
        got = model.branches(inputs[:, 6:], available_modalities=['normal'])
        disable_exchange(model)
        assert torch.equal(got['normal'], model.branches(inputs)['normal'])


def test_dropout_keeps_the_statistics_for_missing_modalities_apart(build):
    """They are those of a network of the available modality alone, and the others stay as they are."""
    model, alone = build(NAMES[:2], modality_dropout=0.5), build(['rgb'])
    state = {key: value for key, value in model.state_dict().items() if '.partial_' not in key}
    model.load_state_dict(state, strict=False)  # a checkpoint without them: they start from the others
    first = {key: value for key, value in state.items() if '.norms.1.' not in key and key != 'ensemble.alpha'}
    alone.load_state_dict(first, strict=False)
    image = torch.randn(2, 3, 64, 64)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        for network in (model.train(), alone.train()):
            network.branches(image, available_modalities=['rgb'])
        got, want = (network.eval().branches(image, available_modalities=['rgb']) for network in (model, alone))
    assert torch.equal(got['rgb'], want['rgb'])
    after = model.state_dict()
    changed = {key for key in after if not torch.equal(before[key], after[key]) and 'num_batches' not in key}
    assert changed == {key for key in after if key.endswith(('.partial_mean', '.partial_var'))}
    assert all(torch.equal(before[key][1], after[key][1]) for key in changed)  # of depth
    pair = torch.cat([image, image + 1], dim=1)
    with torch.no_grad():  # no modality is missing in another order
        swapped = model.branches(pair.roll(3, dims=1), available_modalities=['depth', 'rgb'])['rgb']
        torch.testing.assert_close(swapped, model.branches(pair)['rgb'])
        without_dropout = build(NAMES[:2])
        without_dropout.load_state_dict(after)
        got = without_dropout.eval().branches(image, available_modalities=['rgb'])
    assert torch.equal(got['rgb'], want['rgb'])
    assert all(
        torch.equal(after[key][0], alone.state_dict()[key.replace('partial', 'norms.0.running')]) for key in changed
    )


def sample(height: int, width: int) -> SegDataSample:
    label = torch.randint(0, 5, (1, height, width))
    return SegDataSample(
        metainfo=dict(ori_shape=(height, width), img_shape=(height, width), modalities=NAMES[:3]),
        gt_sem_seg=PixelData(data=label),
    )


def test_all_processes_drop_the_same_modality(build):
    """Only the first process's seed counts, which mmengine sends to all; torch's generators may differ."""
    sequences, inputs = [], torch.randn(1, 9, 4, 4)
    for seed in (1, 2):
        np.random.seed(0)  # what sync_random_seed returns in every process
        MessageHub._instance_dict.clear()  # every process has its own
        model = build(NAMES[:3], modality_dropout=0.5)
        torch.manual_seed(seed)
        sequences.append([model._drop_modality(inputs)[1] for _ in range(20)])
    assert sequences[0] == sequences[1]
    assert len(set(sequences[0])) == 4


def test_nothing_is_drawn_at_probability_0(build):
    model = build(NAMES[:3])
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    inputs = torch.randn(1, 9, 4, 4, generator=torch.Generator())
    assert model._drop_modality(inputs) == (inputs, NAMES[:3])
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])


def test_modality_dropout_drops_one_modality_per_step(build):
    model = build(NAMES[:3], modality_dropout=1.0, sparsity=None).train()
    inputs, samples, combinations = torch.randn(2, 9, 64, 64), [sample(64, 64) for _ in range(2)], set()
    for _ in range(12):
        losses = {key: value for key, value in model.loss(inputs, samples).items() if 'loss' in key}
        available = tuple(key.split('.')[0] for key in losses)[:-1]
        assert list(losses) == [f'{name}.loss_ce' for name in (*available, 'ensemble')]
        combinations.add(available)
    assert combinations == {('rgb', 'depth'), ('rgb', 'normal'), ('depth', 'normal')}
    model.zero_grad()
    sum(losses.values()).backward()
    trained = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    keep = tuple(f'norms.{NAMES.index(name)}.' for name in available)
    assert trained == {
        name for name, _ in model.named_parameters() if 'norms' not in name or any(k in name for k in keep)
    }
    images = torch.cat([inputs.split(3, 1)[NAMES.index(name)] for name in available], dim=1)
    logits = model.branches(images, available)[available[1]]
    want = model.decode_head.loss_by_feat(logits, samples)['loss_ce']
    torch.testing.assert_close(losses[f'{available[1]}.loss_ce'], want)


@pytest.mark.parametrize('mode', ['whole', 'slide'])
@pytest.mark.parametrize('available', [('depth',), ('normal', 'rgb')])
def test_predictions_from_the_available_modalities(build, available, mode):
    options = dict(test_cfg=dict(mode=mode, crop_size=(32, 48), stride=(16, 24)))
    model, want = (
        build(NAMES[:3], available_modalities=available, **options).eval(),
        build(NAMES[:3], **options).eval(),
    )
    want.load_state_dict(model.state_dict())
    available = tuple(name for name in NAMES if name in available)  # the model's order
    packed = {name: [image] for name, image in zip(NAMES, torch.randn(9, 64, 96).split(3))}
    with torch.no_grad():
        got = model.test_step(dict(inputs=packed, data_samples=[sample(64, 96)]))[0]
        assert set(got.pred_sem_seg.keys()) == {'data', *available}
        assert got.modalities == available
        images = want.data_preprocessor(dict(inputs=packed, data_samples=[sample(64, 96)]))['inputs'].split(3, 1)
        images = torch.cat([images[NAMES.index(name)] for name in available], dim=1)
        if mode == 'whole':
            logits = torch.nn.functional.interpolate(
                want.branches(images, available)['ensemble'], (64, 96), mode='bicubic'
            )
            torch.testing.assert_close(got.seg_logits.data, logits[0])


def test_invalid_arguments_raise_clear_errors(build):
    model = build(NAMES[:2]).eval()
    with torch.no_grad():
        want = model.branches(torch.ones(1, 6, 32, 32))['rgb']
        for names in (['rbg'], 'rgb', ['rgb', 'rgb'], []):
            with pytest.raises(
                ValueError,
                match=r'available_modalities=.* does not match .* of the model, rgb, depth: list one or more',
            ):
                model.branches(torch.ones(1, 3, 32, 32), available_modalities=names)
        with pytest.raises(
            ValueError, match=r"6 channels, but available_modalities=\['rgb'\] needs 3: pass three channels per"
        ):
            model.branches(torch.ones(1, 6, 32, 32), available_modalities=['rgb'])
        with pytest.raises(RuntimeError, match='size'):  # inside the network
            model.branches(torch.ones(1, 3, 0, 32), available_modalities=['rgb'])
        assert torch.equal(model.branches(torch.ones(1, 6, 32, 32))['rgb'], want)
    with pytest.raises(ValueError, match=r"available_modalities=\['rgb', 'normal'\] does not match"):
        build(NAMES[:2], available_modalities=['rgb', 'normal'])
    with pytest.raises(ValueError, match='modality_dropout=1.5 is not a probability'):
        build(NAMES[:2], modality_dropout=1.5)
    with pytest.raises(ValueError, match='does not work with activation checkpointing of backbone'):
        build(NAMES[:2], **{'modality_dropout': 0.5, 'backbone.with_cp': True})
    # The second forward pass of a checkpointed layer would run on other modalities, and give wrong gradients.
    inputs = torch.ones(2, 3, 64, 64)
    model = build(NAMES[:2], **{'available_modalities': ['rgb'], 'backbone.with_cp': True}).eval()
    with torch.no_grad():
        model.branches(inputs)
    with pytest.raises(ValueError, match='does not work with activation checkpointing of backbone: remove'):
        model.train().branches(inputs)
    model = build(NAMES[:2], available_modalities=['rgb']).train()
    model.branches(inputs)
    turn_on_activation_checkpointing(model, ['backbone.layer2'])
    with pytest.raises(ValueError, match='does not work with activation checkpointing of backbone.layer2: remove'):
        model.branches(inputs)
