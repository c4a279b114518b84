from functools import partial

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from cen_mm.exchange import ExchangeNorm
from cen_mm.segmentation.losses import head_losses


def samples(batch: int, height: int, width: int, **meta) -> list[SegDataSample]:
    meta = dict(ori_shape=(height, width), img_shape=(height, width), **meta)
    label = torch.randint(0, 5, (1, height, width))
    return [SegDataSample(metainfo=meta, gt_sem_seg=PixelData(data=label)) for _ in range(batch)]


def test_tensor_mode_returns_the_branches(tiny_model):
    out = tiny_model()(torch.randn(2, 6, 64, 96), mode='tensor')
    assert {name: tuple(x.shape) for name, x in out.items()} == dict.fromkeys(
        ['rgb', 'depth', 'ensemble'], (2, 5, 16, 24)
    )
    assert not torch.equal(out['rgb'], out['depth'])


def test_ensemble_loss_trains_only_alpha_and_all_losses_train_everything(tiny_model):
    model = tiny_model().train()
    losses = model(torch.randn(2, 6, 64, 96), samples(2, 64, 96), mode='loss')
    assert {key for key in losses if 'loss' in key} == {
        'rgb.loss_ce', 'depth.loss_ce', 'ensemble.loss_ce', 'loss_sparsity'
    }  # fmt: skip
    losses['ensemble.loss_ce'].backward(retain_graph=True)
    trained = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert trained == {'ensemble.alpha'}
    model.parse_losses(losses)[0].backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize('mode', ['whole', 'slide'])
def test_predictions_of_every_branch_have_the_size_of_the_label(tiny_model, mode):
    model = tiny_model({'test_cfg': dict(mode=mode, crop_size=(32, 48), stride=(16, 24))}).eval()
    with torch.no_grad():
        sample = model(torch.randn(1, 6, 64, 96), samples(1, 64, 96), mode='predict')[0]
    assert set(sample.pred_sem_seg.keys()) == set(sample.seg_logits.keys()) == {'data', 'rgb', 'depth'}
    for name in ('data', 'rgb', 'depth'):
        logits = sample.seg_logits.get(name)
        assert logits.shape == (5, 64, 96)
        assert torch.equal(sample.pred_sem_seg.get(name), logits.argmax(0, keepdim=True))


def test_whole_inference_resizes_the_branches(tiny_model):
    model = tiny_model().eval()
    inputs = torch.randn(1, 6, 64, 96)
    with torch.no_grad():
        sample = model(inputs, samples(1, 64, 96), mode='predict')[0]
        depth = torch.nn.functional.interpolate(model.branches(inputs)['depth'], (64, 96), mode='bicubic')
    torch.testing.assert_close(sample.seg_logits.depth, depth[0])


def test_test_time_augmentation_averages_every_branch(tiny_model):
    model = tiny_model().eval()
    tta = MODELS.build(dict(type='cen_mm.MultimodalTTAModel', module=model))
    rgb, depth = torch.randn(2, 3, 64, 96)
    packed = dict(
        inputs=[dict(rgb=[rgb], depth=[depth]), dict(rgb=[rgb.flip(2)], depth=[depth.flip(2)])],
        data_samples=[samples(1, 64, 96, img_path=''), samples(1, 64, 96, img_path='', flip=True,
                                                               flip_direction='horizontal')],
    )  # fmt: skip
    with torch.no_grad():
        merged = tta.test_step(packed)[0].pred_sem_seg
        both = [model.test_step({k: v[i] for k, v in packed.items()})[0].seg_logits for i in range(2)]
    for name in ('data', 'rgb', 'depth'):
        mean = sum(logits.get(name).softmax(0) for logits in both)
        assert torch.equal(merged.get(name), mean.argmax(0, keepdim=True))


def test_a_dumped_config_builds_the_same_model(config, tmp_path):
    """mmengine writes the config of a run with sorted keys, depth before rgb; the branches must stay the same."""
    cfg = config('cen_refinenet_r18_rooms.py')
    cfg.dump(tmp_path / 'dumped.py')
    dumped = Config.fromfile(tmp_path / 'dumped.py')
    assert list(dumped.model.data_preprocessor.modalities) == ['depth', 'rgb']
    models = [MODELS.build(each.model).eval() for each in (cfg, dumped)]
    models[1].load_state_dict(models[0].state_dict())
    inputs = dict(rgb=[torch.rand(3, 64, 96)], depth=[torch.rand(1, 64, 96)])
    with torch.no_grad():
        results = [model.test_step(dict(inputs=inputs, data_samples=samples(1, 64, 96)))[0] for model in models]
    assert models[1].modalities == ('rgb', 'depth')
    for name in ('data', 'rgb', 'depth'):
        assert torch.equal(*(sample.seg_logits.get(name) for sample in results))


def test_norms_of_backbone_and_head_become_per_modality(config):
    cfg = config('cen_refinenet_r18_rooms.py').model
    cfg.neck = None
    cfg.decode_head = dict(
        type='FCNHead', in_channels=512, in_index=3, channels=16, num_convs=1, num_classes=5,
        norm_cfg=dict(type='BN'), loss_decode=dict(type='CrossEntropyLoss'),
    )  # fmt: skip
    cfg.backbone = dict(
        type='cen_mm.MultimodalBackbone',
        backbone=dict(type='mmseg.ResNet', depth=18, norm_cfg=dict(type='BN')),
        exchange='bn1$',
        threshold=2.0,
    )
    model = MODELS.build(cfg)
    assert isinstance(model.decode_head.convs[0].bn, ExchangeNorm)
    assert model.decode_head.convs[0].bn.threshold is None
    assert model.branches(torch.randn(2, 6, 64, 64))['depth'].shape == (2, 5, 2, 2)


def test_three_modalities(tiny_model):
    gray = dict(mean=[0.0] * 3, std=[1.0] * 3)
    model = tiny_model({'data_preprocessor.modalities': dict(rgb=gray, depth=gray, normal=gray)})
    out = model.branches(torch.randn(2, 9, 32, 32))
    assert list(out) == ['rgb', 'depth', 'normal', 'ensemble']
    with pytest.raises(ValueError, match='8 channels, which is not a multiple of the 3 modalities'):
        model.branches(torch.randn(2, 8, 32, 32))


@torch.no_grad()
def test_sliding_windows_average_every_output(tiny_model):
    model = tiny_model({'test_cfg': dict(mode='slide', crop_size=(32, 32), stride=(16, 16))}).eval()
    inputs, meta = torch.randn(2, 6, 48, 48), [dict(img_shape=(48, 48), ori_shape=(48, 48))] * 2
    total, count = torch.zeros(2, 3 * 5, 48, 48), torch.zeros(48, 48)
    for y, x in ((0, 0), (0, 16), (16, 0), (16, 16)):
        window = (..., slice(y, y + 32), slice(x, x + 32))
        total[window] += model.encode_decode(inputs[window], meta)
        count[window] += 1
    torch.testing.assert_close(model.inference(inputs, meta), total / count, rtol=1e-4, atol=1e-5)


def test_negative_threshold_raises_clear_error(tiny_model):
    with pytest.raises(ValueError, match=r'threshold=-1: .* Use 0 or more'):
        tiny_model({'backbone.threshold': -1})


ENTROPY = dict(type='CrossEntropyLoss')
LOSSES = {  # losses and sampler; two losses have the same name
    'several': ([dict(ENTROPY, avg_non_ignore=True), dict(ENTROPY, loss_weight=0.5), dict(type='DiceLoss')], None),
    'sampler': ([ENTROPY], dict(type='OHEMPixelSampler', thresh=0.7, min_kept=20)),
}


@pytest.mark.parametrize('name', LOSSES)
def test_head_losses_equal_mmseg(tiny_model, name):
    """Values and gradients are equal, also with unlabeled pixels."""
    losses, sampler = LOSSES[name]
    head = tiny_model({'decode_head.loss_decode': losses, 'decode_head.sampler': sampler}).decode_head.double()
    logits = torch.randn(2, 5, 9, 7, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    targets = samples(2, 35, 27)
    for sample in targets:
        sample.gt_sem_seg.data[:, ::3] = 255
    results = []
    for compute in (partial(head_losses, head), head.loss_by_feat):
        logits = logits.detach().requires_grad_()
        got = compute(logits, targets)
        sum(value for name, value in got.items() if 'loss' in name).backward()
        results.append(dict(got, gradient=logits.grad))
    assert results[0].keys() == results[1].keys()
    for name, value in results[0].items():
        tolerance = 1e-5 if name == 'acc_seg' else 1e-12  # mmseg computes the accuracy in float32
        torch.testing.assert_close(
            value.flatten().double(), results[1][name].flatten().double(), rtol=tolerance, atol=1e-12
        )
