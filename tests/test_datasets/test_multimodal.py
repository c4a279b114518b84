"""MultimodalDataset: path patterns, file formats, optional labels, and one clear sentence for each mistake."""

import cv2
import modality_statistics
import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS

from cen_mm.datasets import files

SIZE = (24, 32)
LOAD = [
    dict(type='cen_mm.LoadModalities'),
    dict(type='cen_mm.LoadLabels', augment=False),
    dict(type='cen_mm.PackModalities'),
]
RNG = np.random.default_rng(0)
RGBT = RNG.integers(0, 256, (*SIZE, 4), np.uint8)  # in the order of the file: red, green, blue, thermal
THERMAL = RNG.integers(0, 65536, SIZE).astype(np.uint16)
EVENTS = RNG.standard_normal((*SIZE, 5)).astype(np.float32)
LABEL = RNG.integers(0, 4, SIZE).astype(np.uint8)
NAMES = ('a/0001', 'a/0002', 'b/0001')


@pytest.fixture
def root(tmp_path):
    """Three samples in subfolders, with RGB, RGB and thermal in one file, thermal, events and labels."""
    for name in NAMES:
        files = dict(
            rgb=f'rgb/{name}_rgb.jpg', rgbt=f'rgbt/{name}.png', thermal=f'ther/{name}.png', label=f'labels/{name}.png'
        )
        images = dict(rgb=RGBT[..., 2::-1], rgbt=RGBT[..., [2, 1, 0, 3]], thermal=THERMAL, label=LABEL)
        for key, file in files.items():
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / file), images[key])
        (tmp_path / 'events' / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / f'events/{name}.npy', EVENTS)
    (tmp_path / 'train.txt').write_text('a/0002\nb/0001\n')
    return tmp_path


RGB = dict(rgb='rgb/{}_rgb.jpg')


def build(root, modalities=RGB, **options):
    dataset = dict(
        type='cen_mm.MultimodalDataset',
        data_root=str(root),
        modalities=modalities,
        label='labels/{}.png',
        metainfo=dict(classes=['a', 'b', 'c', 'd']),
        pipeline=LOAD,
    )
    return DATASETS.build({**dataset, **options})


def test_names_come_from_the_list_or_from_all_folders(root, monkeypatch):
    said = []
    monkeypatch.setattr(files, 'print_log', lambda message, **_: said.append(message))
    assert [build(root).get_data_info(i)['img_path'] for i in range(3)] == [
        str(root / f'rgb/{name}_rgb.jpg') for name in NAMES
    ]
    listed = build(root, ann_file='train.txt')
    assert [info['seg_map_path'] for info in map(listed.get_data_info, range(len(listed)))] == [
        str(root / f'labels/{name}.png') for name in NAMES[1:]
    ]
    (root / 'ther/a/0001.png').unlink()
    both = build(root, {**RGB, 'thermal': dict(path='ther/{}.png', dtype='uint16')})
    assert len(both) == 2
    assert len(said) == 1
    assert '1 names are left out' in said[0]
    assert 'rgb: a/0001' in said[0]


def test_reads_every_format(root):
    modalities = dict(
        rgb=dict(path='rgbt/{}.png', channels=[0, 1, 2]),
        thermal8=dict(path='rgbt/{}.png', channels=[3]),
        thermal=dict(path='ther/{}.png', dtype='uint16', scale=100),
        events=dict(path='events/{}.npy', dtype='float32'),
        all=dict(path='rgbt/{}.png'),
    )
    sample = build(root, modalities)[0]
    images = {name: image.permute(1, 2, 0).numpy() for name, image in sample['inputs'].items()}
    assert np.array_equal(images['rgb'], RGBT[..., 2::-1])  # BGR, as mmseg's transforms expect the image
    assert np.array_equal(images['thermal8'], RGBT[..., 3:])
    assert np.array_equal(images['all'], RGBT)
    assert np.array_equal(images['thermal'][..., 0], THERMAL.astype(np.float32) / np.float32(100))
    assert np.array_equal(images['events'], EVENTS)
    assert np.array_equal(sample['data_samples'].gt_sem_seg.data[0], LABEL)
    np.savez(root / 'events/a/0001.npz', EVENTS)
    (root / 'one.txt').write_text('a/0001')
    zipped = build(root, dict(events=dict(path='events/{}.npz', dtype='float32')), ann_file='one.txt')
    assert np.array_equal(zipped[0]['inputs']['events'].permute(1, 2, 0), EVENTS)
    np.savez(root / 'events/a/0001.npz', confidence=EVENTS, events=EVENTS)
    with pytest.raises(
        ValueError, match=r'0001.npz cannot be decoded \(it has 2 arrays, confidence.npy, events.npy, in'
    ):
        zipped[0]
    np.save(root / 'events/a/0001.npy', EVENTS.astype('>f4'))
    for dtype in ('float32', '>f4'):
        big = build(root, dict(events=dict(path='events/{}.npy', dtype=dtype)), ann_file='one.txt')
        assert np.array_equal(big[0]['inputs']['events'].permute(1, 2, 0), EVENTS)


def test_tiff_and_palette_labels(root):
    from PIL import Image

    image = Image.fromarray(LABEL)
    image.putpalette([255, 0, 0] * 256)
    image.save(root / 'labels/a/0001.png')
    cv2.imwrite(str(root / 'ther/a/0001.tiff'), THERMAL)
    (root / 'one.txt').write_text('a/0001')
    thermal = dict(path='ther/{}.tiff', dtype='uint16')
    sample = build(root, dict(thermal=thermal), ann_file='one.txt')[0]
    assert np.array_equal(sample['inputs']['thermal'][0], THERMAL)
    assert np.array_equal(sample['data_samples'].gt_sem_seg.data[0], LABEL)


def test_invalid_pixels_get_the_padding_value(root):
    events = EVENTS.copy()
    events[0, 0] = np.nan
    events[0, 2, 1] = np.nan  # one of its channels
    np.save(root / 'events/a/0001.npy', events)
    modalities = dict(
        thermal=dict(path='ther/{}.png', dtype='uint16', scale=10, invalid=int(THERMAL[3, 4]), pad_val=-1.0),
        events=dict(path='events/{}.npy', dtype='float32', pad_val=[1, 2, 3, 4, 5]),
        normal=dict(path='normal/{}.png', invalid=0, pad_val=127.5),
    )
    (root / 'normal/a').mkdir(parents=True)
    normals = np.full((*THERMAL.shape, 3), 128, np.uint8)
    normals[:2] = [0, 128, 128]  # facing the camera, in BGR
    normals[2] = 0  # without a measurement
    cv2.imwrite(str(root / 'normal/a/0001.png'), normals)
    inputs = build(root, modalities)[0]['inputs']
    assert inputs['normal'][:, 0, 0].tolist() == [128, 128, 0]
    assert inputs['normal'][:, 2, 0].tolist() == [128, 128, 128]  # the padding is rounded to even, too
    assert torch.equal(inputs['thermal'][0] == -1, torch.from_numpy(np.equal(THERMAL, THERMAL[3, 4])))
    assert inputs['events'][:, 0, 0].tolist() == [1, 2, 3, 4, 5]
    assert np.array_equal(inputs['events'][:, 1:], EVENTS.transpose(2, 0, 1)[:, 1:])

    events[0, 1] = 0  # a measurement, although it is the default padding value
    np.save(root / 'events/a/0001.npy', events)
    modalities['events'] = dict(path='events/{}.npy', dtype='float32')
    pipeline = [dict(type=f'cen_mm.{name}Modalities') for name in ('Load', 'Pack')]
    dataset = build(root, modalities, indices=1, pipeline=pipeline)
    moments: dict = {}
    modality_statistics.add_samples(dataset, 0, moments)
    measured = events[np.isfinite(events).all(axis=2)].astype(float)
    np.testing.assert_allclose(moments['events'].mean, measured.mean(axis=0))
    assert moments['thermal'].valid == (THERMAL[3, 4] != THERMAL).sum()
    assert moments['normal'].valid == (normals != 0).any(axis=2).sum()  # those of 128 are measured
    assert moments['events'].zeros == 0
    assert moments['thermal'].zeros == 0
    modalities['thermal'].pop('invalid')
    thermal = THERMAL.copy()
    thermal[:2] = 0
    cv2.imwrite(str(root / 'ther/a/0001.png'), thermal)
    moments.clear()
    modality_statistics.add_samples(build(root, modalities, indices=1, pipeline=pipeline), 0, moments)
    assert moments['thermal'].zeros == (thermal == 0).sum() > modality_statistics.ZEROS * thermal.size
    cv2.imwrite(str(root / 'ther/a/0001.png'), cv2.resize(thermal, None, fx=0.5, fy=0.5))
    small = dict(modalities['thermal'], interpolation='bilinear', resize=True, invalid=0)
    dataset = build(root, dict(RGB, thermal=small), indices=1, pipeline=pipeline)
    resized: dict = {}
    modality_statistics.add_samples(dataset, 0, resized)
    assert 0 <= resized['thermal'].low < resized['thermal'].high < 65536
    assert resized['thermal'].valid < thermal.size


def test_another_size_is_resized_only_on_request(root):
    thermal = dict(path='ther/{}.png', dtype='uint16', interpolation='bilinear')
    small = cv2.resize(THERMAL.astype(np.float32), (16, 12), interpolation=cv2.INTER_LINEAR)
    cv2.imwrite(str(root / 'ther/a/0001.png'), small.astype(np.uint16))
    with pytest.raises(ValueError, match=r'0001.png is 16x12, but .*0001_rgb.jpg is 32x24: align .* resize=True'):
        build(root, {**RGB, 'thermal': thermal})[0]
    resized = build(root, {**RGB, 'thermal': {**thermal, 'resize': True}})[0]['inputs']['thermal'][0].numpy()
    want = cv2.resize(small.astype(np.uint16).astype(np.float32), (32, 24), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(resized, want, rtol=1e-6)
    # Without RGB, the size is that of a modality that is not resized, or of the label.
    small_first = dict(thermal=dict(thermal, resize=True), events=dict(path='events/{}.npy', dtype='float32'))
    for modalities in (small_first, dict(thermal=small_first['thermal'])):
        assert np.array_equal(build(root, modalities)[0]['inputs']['thermal'][0], resized)


def test_labels_are_optional_for_prediction(root):
    dataset = build(root, label=None, test_mode=True)
    assert 'gt_sem_seg' not in dataset[0]['data_samples']
    training = [LOAD[0], dict(type='cen_mm.LoadLabels'), LOAD[2]]
    with pytest.raises(ValueError, match='has no labels, but training needs them: set label in the data set'):
        build(root, label=None, pipeline=training)[0]


def test_label_values_and_channels(root):
    colors = np.stack([LABEL, 255 - LABEL, LABEL, LABEL], -1)  # blue, green, red, alpha
    cv2.imwrite(str(root / 'labels/a/0001.png'), colors)
    first = dict(path='labels/{}.png', channels=[1])
    dataset = build(root, label=first, label_map={255: 3, '254': 0})  # JSON has no numbers as keys
    label = dataset[0]['data_samples'].gt_sem_seg.data[0].numpy()
    assert np.array_equal(label == 3, LABEL == 0)
    assert np.array_equal(label == 0, LABEL == 1)
    assert np.array_equal(label == 255, LABEL > 1)
    with pytest.raises(ValueError, match=r'0001.png is uint8 .24, 32, 4.: save labels .* channels=\[0\]'):
        build(root)[0]
    cv2.imwrite(str(root / 'labels/a/0001.png'), THERMAL)
    with pytest.raises(ValueError, match=r'0001.png is uint16 .24, 32.: save labels as 8-bit PNG with one channel\.$'):
        build(root)[0]


WRONG = [
    (dict(modalities=dict(rgb='color/{}.jpg')), FileNotFoundError, "folder .*color of rgb does not exist: correct"),
    (dict(modalities=dict(rgb='rgb/{}.png')), FileNotFoundError, r"rgb contains no file 'rgb/{}.png' of rgb"),
    (dict(modalities=dict(rgb='rgb/{}.jpg')), FileNotFoundError, r'no common file name \(rgb: a/0001_rgb; label: a/0'),
    (dict(modalities=dict(rgb='rgb/1.jpg')), ValueError, "path of rgb is 'rgb/1.jpg': write {} in place of the name"),
    (dict(ann_file='val.txt'), FileNotFoundError, 'The list file .*val.txt does not exist: set data_root'),
    (dict(ann_file='empty.txt'), ValueError, 'empty.txt is empty: write one sample per line'),
    (dict(ann_file='bare.txt'), FileNotFoundError, '0001_rgb.jpg, required by .*bare.txt, line 1, does not exist'),
    (dict(data_prefix=dict(img_path='x')), ValueError, 'MultimodalDataset does not use data_prefix: give whole path'),
    (dict(img_suffix='.png'), ValueError, 'does not use img_suffix'),
    (
        dict(modalities=dict(thermal=dict(path='ther/{}.png'))), ValueError,
        "0001.png is uint16, but thermal is uint8: set dtype='uint16' for thermal in the data set",
    ),
    (
        dict(modalities=dict(rgb=dict(path='rgb/{}_rgb.jpg', channels=[3]))), ValueError,
        r'0001_rgb.jpg has 3 channel\(s\), but rgb takes channels \[3\]: correct channels',
    ),
    (dict(modalities=dict(img='rgb/{}_rgb.jpg')), ValueError, "modalities has 'img', which is a key of the pipeline"),
    (dict(modalities=dict(RGB, label='labels/{}.png')), ValueError, "modalities has 'label', which is a key"),
    (
        dict(label=dict(path='labels/{}.png', invalid=2)), ValueError,
        r"MultimodalDataset.label has the settings \['invalid'\], but its settings are path, channels, max_pixels",
    ),
    (dict(label_map={0: 300}), ValueError, 'MultimodalDataset.label_map has 0: 300: values and classes are numbers'),
    (dict(label_map=[0, 1]), ValueError, r'MultimodalDataset.label_map is \[0, 1\]: give a dict'),
    *(
        (dict(modalities=dict(rgb=dict(path='rgb/{}_rgb.jpg', **{key: value}))), ValueError,
         f'MultimodalDataset.modalities.rgb: {key}={value!r}: {fix}')
        for key, value, fix in (
            ('scale', '1000', 'give a positive number'), ('pad_val', '0', 'give a finite number'),
            ('pad_val', -1, '8-bit images have values from 0 to 255'), ('channels', 0, 'give a list of indices'),
        )
    ),
    (dict(modalities=dict(rgb=dict(path='rgb/{}_rgb.jpg', pad_val=3))), ValueError, 'rgb.pad_val is not used: remove'),
    (dict(metainfo=dict(classes=['a', 'b'])), ValueError, '0001.png contains label 3, but the classes are 0 to 1'),
]  # fmt: skip


@pytest.mark.parametrize(('options', 'error', 'message'), WRONG, ids=lambda value: str(value)[:50])
def test_mistakes_raise_clear_errors(root, options, error, message):
    (root / 'empty.txt').write_text('\n')
    (root / 'bare.txt').write_text('0001\n')
    with pytest.raises(error, match=message):
        build(root, **options)[0]


def test_a_label_of_another_size_is_refused_unless_the_config_crops(root):
    cv2.imwrite(str(root / 'labels/a/0001.png'), LABEL[4:-4, 4:-4])
    with pytest.raises(ValueError, match=r'0001.png is 24x16, but its image .* is 32x24: save it in the size'):
        build(root)[0]
    cropping = [LOAD[0], dict(type='cen_mm.LoadLabels', augment=False, crop_to_label=True), LOAD[2]]
    image = build(root, dict(rgb=dict(path='rgbt/{}.png', channels=[0, 1, 2])), pipeline=cropping)[0]['inputs']['rgb']
    assert np.array_equal(image.permute(1, 2, 0), RGBT[4:-4, 4:-4, 2::-1])


def test_five_channels_pass_a_private_convolution(root, config):
    modalities = {**RGB, 'events': dict(path='events/{}.npy', dtype='float32')}
    dataset = build(root, modalities)
    cfg = config('cen_refinenet_r18_rooms.py').model
    cfg.data_preprocessor.modalities.pop('depth')
    cfg.data_preprocessor.modalities['events'] = dict(mean=[0.0] * 5, std=[1.0] * 5, channels=5)
    model = MODELS.build(cfg).train()
    data = model.data_preprocessor(pseudo_collate([dataset[0], dataset[1]]), training=True)
    assert data['inputs'].shape == (2, 8, *SIZE)
    conv = model.adapter.convs['events']
    assert conv.weight.shape == (3, 5, 1, 1)
    # The network sees RGB unchanged and the convolution's output in place of the five channels.
    images = torch.cat([data['inputs'][:, :3], conv(data['inputs'][:, 3:])], dim=1)
    assert torch.equal(model.adapter(data['inputs'], model.modalities), images)
    loss, _ = model.parse_losses(model.loss(**data))
    loss.backward()
    assert conv.weight.grad.abs().sum() > 0
    model.eval()
    with torch.no_grad():
        (sample,) = model.test_step(pseudo_collate([dataset[0]]))
        only = model.branches(data['inputs'][:, 3:], available_modalities=['events'])
        with pytest.raises(ValueError, match=r'input has 6 channels, but rgb, events have 3 \+ 5'):
            model.branches(torch.zeros(1, 6, *SIZE))
    assert sample.pred_sem_seg.events.shape == (1, *SIZE)
    assert set(only) == {'events', 'ensemble'}
