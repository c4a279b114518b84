"""Every geometric and photometric transform of mmseg and mmcv, on coordinates written into RGB, depth and label."""

import pickle
from contextlib import nullcontext

import cv2
import numpy as np
import pytest
from mmcv.transforms import BaseTransform, Compose
from mmengine.registry import DATASETS, TRANSFORMS

from cen_mm.datasets.modality import Modality
from cen_mm.datasets.transforms.shared_geometry import OURS, check_pipeline

HEIGHT, WIDTH = 48, 64
GEOMETRIC = [
    dict(type='CenterCrop', crop_size=(40, 30)),
    dict(type='CenterCrop', crop_size=(80, 60), auto_pad=True),
    dict(type='Pad', size=(80, 60), pad_val=dict(img=0, seg=255)),
    dict(type='RandomChoiceResize', scales=[(32, 24), (96, 72)]),
    dict(type='RandomCrop', crop_size=(30, 40), cat_max_ratio=0.75),
    dict(type='RandomCutOut', prob=1.0, n_holes=3, cutout_shape=(9, 9), seg_fill_in=255),
    dict(type='RandomFlip', prob=1.0),
    dict(type='RandomFlip', prob=1.0, direction='vertical'),
    dict(type='RandomResize', scale=(64, 48), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomRotate', prob=1.0, degree=30),
    dict(type='Resize', scale=(96, 72)),
    dict(type='ResizeShortestEdge', scale=24, max_size=128),
    dict(type='ResizeToMultiple', size_divisor=32),
]
PHOTOMETRIC = [
    dict(type='AdjustGamma', gamma=2.0),
    dict(type='CLAHE'),
    dict(type='PhotoMetricDistortion'),
    dict(type='RGB2Gray'),
    dict(type='RandomGrayscale', prob=1.0, keep_channels=True),
    dict(type='Rerange', min_value=9),
]
REFUSED = [
    dict(type='RandomMosaic', prob=1.0),
    dict(type='RandomRotFlip', rotate_prob=1.0),
    dict(type='RandomChoice', transforms=[[dict(type='RandomFlip', prob=0.5)]]),
    *GEOMETRIC,
]


@pytest.fixture
def sample() -> dict:
    """Column and row of each pixel in RGB (in steps of 4 and 5), in two modalities and in the label."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return dict(
        img=np.stack([4 * x, 5 * y, np.full_like(x, 255)], -1).astype(np.uint8),
        depth=(1 + x + WIDTH * y).astype(np.float32),
        normal=np.stack([x, y, np.full_like(x, 7)], -1).astype(np.uint8),
        gt_seg_map=(x // 8 + 8 * (y // 8)).astype(np.uint8),
        modality_fields=dict(depth=Modality(), normal=Modality()),
        seg_fields=['gt_seg_map'],
        img_shape=(HEIGHT, WIDTH),
        ori_shape=(HEIGHT, WIDTH),
    )


@pytest.mark.parametrize('step', GEOMETRIC, ids=lambda step: step['type'])
def test_geometric_transforms_move_all_modalities(step, sample):
    transform = pickle.loads(pickle.dumps(TRANSFORMS.build({**step, 'type': f'cen_mm.{step["type"]}'})))
    plain = TRANSFORMS.build(dict(step))
    for seed in range(5):
        np.random.seed(seed)
        out = transform(
            {key: value.copy() if isinstance(value, np.ndarray) else value for key, value in sample.items()}
        )
        rgb, depth, normal, label = (out[key] for key in ('img', 'depth', 'normal', 'gt_seg_map'))
        assert rgb.shape[:2] == depth.shape == normal.shape[:2] == label.shape == out['img_shape'][:2]
        inside = (depth > 0) & (label != 255)
        assert (depth > 0).mean() > 0.3
        assert depth.max() <= HEIGHT * WIDTH  # never 255 or an interpolated value
        assert np.array_equal(depth, np.round(depth))
        x, y = (depth - 1) % WIDTH, (depth - 1) // WIDTH
        assert np.array_equal(normal[depth > 0], np.stack([x, y, np.full_like(x, 7)], -1)[depth > 0])
        assert (normal[depth == 0] == 0).all()
        assert np.array_equal(label[inside], (x // 8 + 8 * (y // 8))[inside])
        assert (label[depth == 0] == 255).all()
        sure = inside & (rgb[..., 2] == 255)  # no filled pixels in the interpolation
        assert np.percentile(np.abs(rgb[..., 0] / 4.0 - x)[sure], 95) <= 1.5
        assert np.percentile(np.abs(rgb[..., 1] / 5.0 - y)[sure], 95) <= 1.5
        np.random.seed(seed)
        want = plain(dict(sample, img=sample['img'].copy(), gt_seg_map=sample['gt_seg_map'].copy()))
        assert np.array_equal(rgb, want['img'])
        assert np.array_equal(label, want['gt_seg_map'])
    pickle.dumps(transform)  # for workers that are spawned after the check before training


@pytest.mark.parametrize('step', PHOTOMETRIC, ids=lambda step: step['type'])
def test_photometric_transforms_change_rgb_only(step, sample):
    pipeline = Compose([TRANSFORMS.build(dict(step))])
    out = pipeline(dict(sample, img=sample['img'].copy()))
    assert not np.array_equal(out['img'], sample['img'])
    for key in ('depth', 'normal', 'gt_seg_map'):
        assert np.array_equal(out[key], sample[key])


@pytest.mark.parametrize('step', REFUSED, ids=lambda step: step['type'])
def test_other_transforms_are_refused(step, made_nyudv2):
    dataset = dict(type='cen_mm.NYUDepthV2Dataset', data_root=str(made_nyudv2), ann_file='train.txt', pipeline=[step])
    dataset['modalities'] = dict(rgb={}, depth={})
    with pytest.raises(ValueError, match=r'pipeline contains .*, which is not known to move other modalities'):
        DATASETS.build(dataset)
    assert len(DATASETS.build({**dataset, 'modalities': dict(rgb={})})) == 4


def test_a_transform_that_keeps_configs_is_named():
    class Albu:
        transforms = (dict(type='HorizontalFlip'),)

    with pytest.raises(ValueError, match='pipeline contains Albu, which is not known'):
        check_pipeline([Albu()])


def test_mmsegs_loading_is_refused_with_the_name_of_ours():
    for theirs, ours in OURS.items():
        with pytest.raises(ValueError, match=f"contains {theirs}, which reads or packs .*use type='cen_mm.{ours}'"):
            check_pipeline([TRANSFORMS.build(dict(type=theirs))])


def test_photometric_and_own_transforms_are_accepted(made_nyudv2):
    own = [{**step, 'type': f'cen_mm.{step["type"]}'} for step in GEOMETRIC]
    nested = dict(type='RandomChoice', transforms=[[step] for step in own])
    pipeline = [*PHOTOMETRIC, nested]
    dataset = dict(type='cen_mm.NYUDepthV2Dataset', data_root=str(made_nyudv2), ann_file='train.txt')
    DATASETS.build(dict(dataset, modalities=dict(rgb={}, depth={}), pipeline=pipeline))


def test_smooth_modalities_are_interpolated_and_padded_with_their_value(sample):
    """A bilinear modality moves as mmcv moves images, here a ramp; its padding value may differ per channel."""
    thermal = np.stack([sample['depth'], -sample['depth']], -1)
    sample.update(
        thermal=thermal,
        modality_fields=dict(thermal=Modality(dtype='int16', interpolation='bilinear', pad_val=(7, -9))),
    )
    resized = TRANSFORMS.build(dict(type='cen_mm.Resize', scale=(96, 72)))(dict(sample))['thermal']
    np.testing.assert_allclose(resized, cv2.resize(thermal, (96, 72), interpolation=cv2.INTER_LINEAR), rtol=1e-6)
    padded = TRANSFORMS.build(dict(type='cen_mm.Pad', size=(80, 60)))(dict(sample))['thermal']
    assert np.array_equal(padded[:HEIGHT, :WIDTH], thermal)
    assert np.array_equal(np.unique(padded[HEIGHT:].reshape(-1, 2), axis=0), [[7, -9]])
    np.random.seed(0)
    rotated = TRANSFORMS.build(dict(type='cen_mm.RandomRotate', prob=1.0, degree=(30, 31)))(dict(sample))['thermal']
    assert rotated[0, 0].tolist() == [7, -9]
    assert not np.array_equal(rotated, np.round(rotated))  # interpolated


@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
def test_vectors_turn_with_the_image(sample, dtype):
    """A plane whose normal points to the right points to the left after a flip; pixels without a normal stay."""
    normal = np.tile(np.array([0.6, 0.0, 0.8], np.float32), (HEIGHT, WIDTH, 1))
    if dtype == np.uint8:
        normal = np.rint(127.5 * (1 + normal)).astype(np.uint8)
    normal[:5] = 0  # missing
    flip = TRANSFORMS.build(dict(type='cen_mm.RandomFlip', prob=1.0))

    def vectors(vectors_setting, transform):
        fields = dict(normal=Modality(vectors=vectors_setting))
        out = transform(dict(sample, normal=normal.copy(), modality_fields=fields))['normal']
        assert out.dtype == dtype
        if transform is flip:
            assert (out[:5] == 0).all()
        return (out / 127.5 - 1 if dtype == np.uint8 else out)[HEIGHT // 2, WIDTH // 2]

    np.testing.assert_allclose(vectors(None, flip), [0.6, 0.0, 0.8], atol=5e-3)
    np.testing.assert_allclose(vectors('y_up', flip), [-0.6, 0.0, 0.8], atol=5e-3)
    for setting, y in (('y_up', -0.6), ('y_down', 0.6)):  # 90 degrees clockwise: right becomes down
        rotate = TRANSFORMS.build(dict(type='cen_mm.RandomRotate', prob=1.0, degree=(90, 90)))
        np.testing.assert_allclose(vectors(setting, rotate), [0.0, y, 0.8], atol=5e-3)


def test_vectors_turn_with_every_flip(sample):
    normal = np.tile(np.array([0.6, 0.48, 0.64], np.float32), (HEIGHT, WIDTH, 1))
    for direction, want in (('vertical', [0.6, -0.48, 0.64]), ('diagonal', [-0.6, -0.48, 0.64])):
        flip = TRANSFORMS.build(dict(type='cen_mm.RandomFlip', prob=1.0, direction=direction))
        for setting in ('y_up', 'y_down'):
            fields = dict(normal=Modality(vectors=setting))
            out = flip(dict(sample, normal=normal.copy(), modality_fields=fields))['normal']
            np.testing.assert_allclose(out[0, 0], want, atol=1e-6)


def test_a_flip_swaps_classes_only(sample):
    flip = TRANSFORMS.build(dict(type='cen_mm.RandomFlip', prob=1.0, swap_seg_labels=[(1, 2)]))
    label = sample['gt_seg_map'].copy()
    out = flip(dict(sample))
    assert np.array_equal(out['depth'], sample['depth'][:, ::-1])
    assert not np.array_equal(out['gt_seg_map'], label[:, ::-1])


def test_transforms_that_predictions_do_not_undo_need_augmented_labels(sample):
    sample['seg_fields'] = []  # LoadLabels(augment=False)
    with pytest.raises(ValueError, match=r'cen_mm.Pad would move the images, but not their labels, and pred'):
        TRANSFORMS.build(dict(type='cen_mm.Pad', size_divisor=32))(dict(sample))
    out = TRANSFORMS.build(dict(type='cen_mm.Resize', scale=(2 * WIDTH, 2 * HEIGHT)))(dict(sample))
    assert out['depth'].shape == (2 * HEIGHT, 2 * WIDTH)
    assert out['gt_seg_map'].shape == (HEIGHT, WIDTH)


def test_center_pad_of_five_channels(sample):
    values = [1.0, 2.0, 3.0, 4.0, 5.0]
    fields = dict(events=Modality(dtype='float32', pad_val=values))
    events = np.zeros((HEIGHT, WIDTH, 5), np.float32)
    pad = TRANSFORMS.build(dict(type='cen_mm.CenterPad', size=(HEIGHT + 4, WIDTH + 2)))
    out = pad(dict(sample, events=events, modality_fields=fields))['events']
    assert out.shape == (HEIGHT + 4, WIDTH + 2, 5)
    assert out[0, 0].tolist() == values
    assert not out[2:-2, 1:-1].any()


@pytest.mark.parametrize('moves', [False, True])
def test_transform_of_the_user_is_accepted_if_it_says_that_it_moves_the_modalities(moves):
    class Transpose(BaseTransform):
        moves_modalities = moves

        def transform(self, results):
            return results

    expected = nullcontext() if moves else pytest.raises(ValueError, match='or set Transpose.moves_modalities = True')
    with expected:
        check_pipeline([Transpose()])
    with expected:
        check_pipeline([TRANSFORMS.build(dict(type='RandomApply', transforms=[Transpose()]))])
