"""The configs of the field's data sets read small folders in the published layouts, and mistakes give one sentence."""

import json
import os
import re
import shutil
from pathlib import Path

import cityscapes
import cv2
import dsec
import h5py
import hha
import modality_statistics
import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, METRICS, MODELS, TRANSFORMS

from cen_mm.datasets.modality import Modality

ROOT = Path(__file__).parents[2]
SIZE = (24, 32)
CROP = (16, 24)
FOCAL_BASELINE = 500.0  # meters times pixels


def save(path: Path, image: np.ndarray) -> np.ndarray:
    """Writes an image whose channels are red, green, blue (, alpha), and returns it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}.get(image.shape[-1] if image.ndim == 3 else 0)
    assert cv2.imwrite(str(path), image if order is None else image[..., order])
    return image


def noise(channels: int = 3, high: int = 256, dtype: type = np.uint8, size: tuple = SIZE) -> np.ndarray:
    return np.random.randint(0, high, (*size, channels) if channels > 1 else size).astype(dtype)


def packed(rgb: np.ndarray, **others: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the packed images, ``(C, H, W)``, of images ``(H, W[, C])``: RGB in BGR order."""
    images = dict(rgb=rgb[..., ::-1], **others)
    return {name: np.atleast_3d(image).transpose(2, 0, 1) for name, image in images.items()}


# Each function writes a data set and returns the packed images and the label of the first test sample, and the number
# of samples for training, validation and test.


def write_mfnet(root: Path) -> tuple:
    lists = dict(train=['00001D', '00002N', '00003D'], val=['00004D', '00005N'], test=['00006N', '00007D'])
    lists.update(test_day=['00007D'], test_night=['00006N'])
    for split, names in lists.items():
        (root / f'{split}.txt').write_text(''.join(f'{name}\n' for name in names))
        for name in names:
            images = save(root / f'images/{name}.png', noise(4)), save(root / f'labels/{name}.png', noise(1, 9))
            if name == '00006N':
                (rgbt, label) = images
    return packed(rgbt[..., :3], thermal=rgbt[..., 3]), label, [3, 2, 2]


def write_mfnet_split(root: Path) -> tuple:
    for split in ('train', 'val', 'test'):
        (root / f'{split}.txt').write_text('00001D\n')
    label = save(root / 'labels/00001D.png', noise(1, 9))
    save(root / 'rgb/00001D.jpg', noise())
    save(root / 'ther/00001D.jpg', noise(1))
    rgb, thermal = (cv2.imread(str(root / f'{name}/00001D.jpg'), cv2.IMREAD_UNCHANGED) for name in ('rgb', 'ther'))
    return packed(rgb[..., ::-1], thermal=thermal), label, [1, 1, 1]


def write_pst900(root: Path) -> tuple:
    for split, names in dict(train='ab', test='c').items():
        for name in names:
            file = f'{name}_bag1a_rect_rgb_frame0000000007.png'
            rgb = save(root / split / f'rgb/{file}', noise())
            thermal = save(root / split / f'thermal/{file}', noise(1))
            label = save(root / split / f'labels/{file}', noise(1, 5))
            for folder in ('thermal_raw', 'depth'):
                save(root / split / folder / file, noise(1, 65536, np.uint16))
    return packed(rgb, thermal=thermal), label, [2, 1, 1]


def write_deliver(root: Path) -> tuple:
    for split, cases in dict(train=['cloud', 'fog', 'sun'], val=['rain', 'sun'], test=['night']).items():
        for case in cases:
            name = f'{case}/{split}/MAP_10_point102/045050'
            rgb, hha_image, lidar = (
                save(root / f'{folder}/{name}_{kind}_front.png', noise(channels))
                for folder, kind, channels in (('img', 'rgb', 4), ('hha', 'depth', 3), ('lidar', 'lidar', 3))
            )
            save(root / f'depth/{name}_depth_front.png', noise(1))
            small = save(root / f'event/{name}_event_front.png', noise(3, size=(12, 16)))
            values = np.append(np.arange(26), 255)[noise(1, 27)].astype(np.uint8)
            save(root / f'semantic/{name}_semantic_front.png', np.dstack([values, noise(3)]))
    label = np.where((values == 0) | (values == 255), 255, values.astype(int) - 1)
    return packed(rgb[..., :3], depth=hha_image, event=small.repeat(2, 0).repeat(2, 1), lidar=lidar), label, [3, 2, 1]


TRAIN_IDS = {
    7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13, 27: 14, 28: 15,
    31: 16, 32: 17, 33: 18,
}  # fmt: skip


def write_cityscapes(root: Path) -> tuple:
    cities = dict(train=['aachen', 'bochum'], val=['frankfurt'], test=['berlin'])
    for split, city in ((split, city) for split, names in cities.items() for city in names):
        name = f'{split}/{city}/{city}_000000_000019'
        rgb = save(root / f'leftImg8bit/{name}_leftImg8bit.png', noise())
        ids = save(root / f'gtFine/{name}_gtFine_labelIds.png', noise(1, 34))
        save(root / f'gtFine/{name}_gtFine_instanceIds.png', noise(1, 65536, np.uint16))
        disparity = noise(1, 40000, np.uint16)
        disparity[0, :4] = [0, 1, 2, 427]  # missing, infinite, far, 300.5 m
        save(root / f'disparity/{name}_disparity.png', disparity)
        (root / f'camera/{name}_camera.json').parent.mkdir(parents=True)
        camera = dict(extrinsic=dict(baseline=0.2), intrinsic=dict(fx=FOCAL_BASELINE / 0.2))
        (root / f'camera/{name}_camera.json').write_text(json.dumps(camera))
        if split == 'val':
            expected = rgb, ids, disparity.astype(int)
    cityscapes.convert(root, workers=1)
    rgb, ids, disparity = expected
    meters = FOCAL_BASELINE * 256 / np.maximum(disparity - 1, 1e-9)
    meters[(disparity < 2) | (meters > 300)] = 31.72
    label = np.vectorize(lambda value: TRAIN_IDS.get(value, 255))(ids)
    return packed(rgb, depth=np.where(meters == 31.72, meters, np.rint(meters * 200) / 200)), label, [2, 1, 1]


def write_dsec_source(root: Path) -> tuple:
    """Writes the raw data of two sequences. The RGB camera has twice the focal length and the same direction.

    Returns:
        RGB image, events, rectification map, and label of the second time of the test sequence.
    """
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    transform = np.eye(4)
    transform[:3, :3], transform[:3, 3] = quarter, [0.1, 0, 0]
    calibration = dict(
        intrinsics=dict(
            camRect0=dict(camera_matrix=[500.0, 500.0, 320.0, 240.0]),
            camRect1=dict(camera_matrix=[1000.0, 1000.0, 640.0, 480.0]),
        ),
        extrinsics=dict(R_rect0=quarter.tolist(), R_rect1=np.eye(3).tolist(), T_10=transform.tolist()),
    )
    rectified = (np.stack(np.meshgrid(np.arange(640), np.arange(480)), -1) * 1.01 - 3.3).astype(np.float32)
    for split, sequence in (('train', 'zurich_city_00_a'), ('test', 'zurich_city_13_a')):
        folder = root / split / sequence
        high = dict(x=640, y=480, t=9000, p=2)
        events = {name: noise(1, value, np.uint32, (150,)) for name, value in high.items()}
        events['t'].sort()
        (folder / 'events/left').mkdir(parents=True)
        with h5py.File(folder / 'events/left/events.h5', 'w') as file:
            for name, values in events.items():
                file[f'events/{name}'] = values
            file['ms_to_idx'] = np.searchsorted(events['t'], np.arange(10) * 1000)
            file['t_offset'] = 5_000_000
        with h5py.File(folder / 'events/left/rectify_map.h5', 'w') as file:
            file['rectify_map'] = rectified
        (folder / 'calibration').mkdir()
        (folder / 'calibration/cam_to_cam.yaml').write_text(json.dumps(calibration))  # JSON is YAML
        for i in (0, 2, 1):
            label = save(folder / f'semantic/11classes/data/{i:06d}.png', noise(1, 11, size=(440, 640)))
            rgb = save(folder / f'images/left/rectified/{i:06d}.png', noise(size=(960, 1280)))
        (folder / 'semantic/timestamps.txt').write_text('5000000\n5003500\n5009999\n')
    return rgb, events, rectified, label


def write_dsec(root: Path) -> tuple:
    rgb, events, rectified, label = write_dsec_source(root / 'source')
    dsec.convert(root / 'source', root, workers=1)
    before = events['t'] < 3500
    assert before.sum() > 40
    last = {name: values[before][-40:].tolist() for name, values in events.items()}
    grid = np.zeros((440, 640, 5))
    for column, row, t, p in zip(*last.values()):
        x, y = rectified[row, column].tolist()
        position = 4 * (t - last['t'][0]) / (last['t'][-1] - last['t'][0])
        for j, i, k in np.ndindex(2, 2, 5):
            j, i = int(np.floor(y)) + j, int(np.floor(x)) + i
            if 0 <= j < 440 and 0 <= i < 640:
                weight = (1 - abs(j - y)) * (1 - abs(i - x)) * max(1 - abs(k - position), 0)
                grid[j, i, k] += weight if p else -weight
    names = [f'zurich_city_13_a/{i:06d}' for i in range(3)]
    assert (root / 'test.txt').read_text().split() == names
    (root / 'test.txt').write_text(names[1])
    return packed(rgb[:880:2, ::2], events=grid.astype(np.float16)), label, [3, 1, 1]


def write_nyudv2(root: Path, suffix: str = 'png') -> tuple:
    """Writes NYUDv2's layout, and HHA for one camera per data set or, for SUN RGB-D, for one per image."""
    for i, split in enumerate(('train', 'val')):
        rgb = save(root / f'rgb/{i:06d}.{suffix}', noise())
        label, depth = save(root / f'masks/{i:06d}.png', noise(1, 37)), noise(1, 30000, np.uint16)
        save(root / f'depth/{i:06d}.png', depth)
        (root / f'{split}.txt').write_text(f'rgb/{i:06d}.{suffix}\tmasks/{i:06d}.png\tdepth/{i:06d}.png\n')
    if suffix == 'jpg':
        rgb = cv2.imread(str(root / 'rgb/000001.jpg'))[..., ::-1]
    return rgb, depth, label


def write_nyudv2_hha(root: Path) -> tuple:
    rgb, depth, label = write_nyudv2(root)
    hha.convert(root / 'depth', root / 'hha', 5000, (40.0, 40.0, 16.5, 12.5), None, None, workers=1)
    expected = hha.compute_hha(depth / 5000, depth > 0, (40.0, 40.0, 16.5, 12.5))
    return packed(rgb, hha=expected), label, [1, 1, 1]


def write_sunrgbd_hha(root: Path) -> tuple:
    rgb, depth, label = write_nyudv2(root, 'jpg')
    (root / 'cameras.txt').write_text('000000 40 40 16.5 12.5\n000001 30 31 15 11\n')
    hha.convert(root / 'depth', root / 'hha', 5000, hha.NYU_CAMERA, root / 'cameras.txt', None, workers=1)
    expected = hha.compute_hha(depth / 5000, depth > 0, (30, 31, 15, 11))
    return packed(rgb, hha=expected), label, [1, 1, 1]


def write_sunrgbd_stretched(root: Path) -> tuple:
    rgb, depth, label = write_nyudv2(root, 'jpg')
    values = depth.astype(float)
    return packed(rgb, depth=(values - values.min()) * 255.0 / (values.max() - values.min())), label, [1, 1, 1]


WRITERS = {
    'mfnet': write_mfnet,
    'mfnet_split': write_mfnet_split,
    'pst900': write_pst900,
    'deliver': write_deliver,
    'cityscapes': write_cityscapes,
    'dsec': write_dsec,
    'nyudv2_rgb-hha': write_nyudv2_hha,
    'sunrgbd_rgb-hha': write_sunrgbd_hha,
    'sunrgbd_stretched-depth': write_sunrgbd_stretched,
}


@pytest.fixture
def read_config(tmp_path, monkeypatch):
    """Returns a function that reads a base config of a data set, for data in tmp_path and with small crops."""

    def read(name: str) -> Config:
        monkeypatch.setenv(f'CEN_MM_{name.split("_")[0].upper()}', str(tmp_path))
        cfg = Config.fromfile(ROOT / f'configs/_base_/datasets/{name}.py')
        for step in cfg.train_dataloader.dataset.pipeline:
            small = dict(size=CROP, crop_size=CROP, min_side=12)
            step.update({key: value for key, value in small.items() if key in step})
        return cfg

    return read


@pytest.mark.parametrize('name', WRITERS)
def test_samples_have_the_values_of_the_files(tmp_path, monkeypatch, read_config, name):
    monkeypatch.setattr(dsec, 'NUM_EVENTS', 40)
    expected, label, counts = WRITERS[name](tmp_path)
    cfg = read_config(name)
    train, val, test = (DATASETS.build(cfg[f'{part}_dataloader'].dataset) for part in ('train', 'val', 'test'))
    assert [len(train), len(val), len(test)] == counts
    sample = test[0]
    assert set(sample['inputs']) == set(expected)
    for key, image in expected.items():
        np.testing.assert_allclose(sample['inputs'][key], image, rtol=1e-6, err_msg=key)
    assert np.array_equal(sample['data_samples'].gt_sem_seg.data[0], label)
    classes = test.metainfo['classes']
    assert len(classes) == len(test.metainfo['palette'])
    assert label[label != 255].max() < len(classes)

    preprocessor = MODELS.build(cfg.data_preprocessor)
    data = preprocessor(pseudo_collate([train[0]]), training=True)
    assert data['inputs'].shape == (1, sum(preprocessor.channels.values()), *CROP)
    assert data['inputs'].isfinite().all()
    assert data['data_samples'][0].gt_sem_seg.shape == CROP


def test_mfnet_has_day_and_night_lists(tmp_path, read_config):
    write_mfnet(tmp_path)
    dataset = read_config('mfnet').test_dataloader.dataset
    for name, image in (('test_day', '00007D'), ('test_night', '00006N')):
        day = DATASETS.build(dict(dataset, ann_file=f'{name}.txt'))
        assert [Path(day.get_data_info(i)['img_path']).stem for i in range(len(day))] == [image]


def test_absent_classes_of_deliver_count_as_zero(read_config):
    metric = METRICS.build(read_config('deliver').test_evaluator)
    metric.dataset_meta = dict(classes=[str(i) for i in range(25)])
    label = torch.tensor([[3, 3, 7]])  # two classes, without an error
    metric.process({}, [dict(modalities=[], gt_sem_seg=dict(data=label), pred_sem_seg=dict(data=label))])
    assert metric.evaluate(1)['mIoU'] == 8.0  # 2 of 25


def test_label_map_survives_a_written_config(read_config):
    written = Config(dict(label_map=read_config('cityscapes').train_dataloader.dataset.label_map)).pretty_text
    assert Config.fromstring(written, '.py').label_map == TRAIN_IDS


def test_statistics_leave_out_missing_depth_of_cityscapes(read_config):
    moments, depth = modality_statistics.Moments(), read_config('cityscapes').train_dataloader.dataset.modalities.depth
    moments.add(np.float32([[[3, 31.72, 5]]]), Modality(**depth))
    assert (moments.valid, moments.mean) == (2, 4)


def test_stretching_includes_the_padding(tmp_path, read_config):
    _, depth, _ = write_nyudv2(tmp_path, 'jpg')
    cfg = read_config('sunrgbd_stretched-depth')
    load, labels, _, pad, *_, stretch, pack = cfg.train_dataloader.dataset.pipeline
    pad.size = (30, 32)
    info = DATASETS.build(cfg.val_dataloader.dataset).get_data_info(0)
    image = Compose([TRANSFORMS.build(step) for step in (load, labels, pad, stretch, pack)])(info)['inputs']['depth']
    padded = np.stack([np.pad(depth.astype(float), ((3, 3), (0, 0)), constant_values=v) for v in (123, 116, 103)])
    np.testing.assert_allclose(image, (padded - padded.min()) * 255.0 / (padded.max() - padded.min()), rtol=1e-6)
    augmented = Compose([TRANSFORMS.build(step) for step in cfg.tta_pipeline])(info)['inputs']
    assert len(augmented) == 6
    assert {(float(each['depth'].min()), float(each['depth'].max())) for each in augmented} == {(0.0, 255.0)}
    constant = dict(modality_fields=['depth'], depth=np.full(SIZE, 3, np.float32))
    assert (TRANSFORMS.build(stretch)(constant)['depth'] == 0).all()
    assert TRANSFORMS.build(stretch)(dict(modality_fields=[])) == dict(modality_fields=[])  # RGB only
    with pytest.raises(ValueError, match=r"modality is 'd', but the modalities other than rgb are \['depth'\]: use"):
        TRANSFORMS.build(dict(stretch, modality='d'))(constant)


@pytest.mark.parametrize('end', ['', '/'])
def test_filtered_paths_are_relative_to_the_root(tmp_path, read_config, end):
    write_deliver(tmp_path)
    options = dict(data_root=f'{tmp_path}{end}', filter_cfg=dict(path='^img/.*/test/'))
    dataset = read_config('deliver').test_dataloader.dataset
    assert len(DATASETS.build(dict(dataset, **options))) == len(DATASETS.build(dict(dataset, data_root=str(tmp_path))))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(filter_cfg=dict(path='/eval/')), "path '/eval/' is found in none of the 6 paths in .*: correct"),
        (dict(filter_cfg=dict(split='val')), r"filter_cfg is {'split': 'val'}: give dict\(path='REGEX'\)"),
        (dict(reduce_zero_label=False), 'semantic_front.png contains label 25, but the classes are 0 to 24'),
        (dict(label='semantic/{}_semantic_front.png'), r'.24, 32, 4.: save labels .* channels=\[0\]'),
    ],
)
def test_mistakes_with_deliver(tmp_path, read_config, options, message):
    write_deliver(tmp_path)
    with pytest.raises(ValueError, match=message):
        DATASETS.build(dict(read_config('deliver').test_dataloader.dataset, **options))[0]


def test_depth_of_cityscapes_must_be_computed_first(tmp_path, read_config):
    write_cityscapes(tmp_path)
    (tmp_path / 'depth').rename(tmp_path / 'other')
    with pytest.raises(FileNotFoundError, match='The folder .*depth of depth does not exist: correct'):
        DATASETS.build(read_config('cityscapes').test_dataloader.dataset)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (None, 'cameras.txt does not exist: run sunrgbd.py'),
        ('000000 1 1 1 1', 'cameras.txt has no camera for 000001.png: add a line NAME FX FY CX CY'),
        ('\n', "cameras.txt, line 1 is '': write NAME FX FY CX CY"),
        ('000000 1 0 1 1', "line 1 is '000000 1 0 1 1': write NAME FX FY CX CY, with FX and FY above 0"),
    ],
)
def test_mistakes_in_the_cameras_of_hha(tmp_path, text, message):
    write_nyudv2(tmp_path)
    cameras = tmp_path / 'cameras.txt'
    if text is not None:
        cameras.write_text(text)
    with pytest.raises(ValueError, match=message):
        hha.convert(tmp_path / 'depth', tmp_path / 'hha', 5000, hha.NYU_CAMERA, cameras, None, workers=1)


def replace(path: Path, content: bytes) -> None:
    path.unlink()  # a hard link
    path.write_bytes(content)


EIGHT_BIT = cv2.imencode('.png', np.zeros((4, 4), np.uint8))[1].tobytes()
MISTAKES = {
    'no disparity': ('cityscapes', 'disparity', None, r'contains no disparity/SPLIT/CITY/\*_disparity.png: unpack'),
    '8-bit disparity': ('cityscapes', 'disparity/val/*/*', EIGHT_BIT, 'is not a 16-bit PNG .*: unpack'),
    'no camera': ('cityscapes', 'camera/val/*/*', None, 'camera.json cannot be read .*: unpack'),
    'other camera': ('cityscapes', 'camera/val/*/*', b'{}', r"KeyError: 'extrinsic'\): unpack"),
    'no split': ('dsec', 'test', None, 'contains no test/SEQUENCE/semantic: give'),
    'no times': ('dsec', 'test/*/*/timestamps.txt', None, 'timestamps.txt does not exist: give'),
    'no label': ('dsec', 'test/**/11classes/data/*', None, 'has 2 labels .* has 3 times: unpack'),
    'no image': ('dsec', 'test/**/rectified/*', None, 'cannot be read: download the left images'),
    'no calibration': ('dsec', 'test/**/*.yaml', None, 'yaml does not exist: download the calibration'),
    'no events': ('dsec', 'test/**/events.h5', b'x', 'events.h5 cannot be read .*: download'),
}


@pytest.fixture(scope='module')
def sources(tmp_path_factory) -> dict[str, Path]:
    """Source folders of both converters."""
    np.random.seed(0)
    roots = {name: tmp_path_factory.mktemp(name) for name in ('cityscapes', 'dsec')}
    write_cityscapes(roots['cityscapes'])
    shutil.rmtree(roots['cityscapes'] / 'depth')
    write_dsec_source(roots['dsec'])
    return roots


@pytest.mark.parametrize('case', MISTAKES)
def test_converters_refuse_incomplete_sources(sources, tmp_path, run_tool, case):
    name, pattern, content, message = MISTAKES[case]
    root, out = tmp_path / 'source', tmp_path / 'out'
    shutil.copytree(sources[name], root, copy_function=os.link)
    path = sorted(root.glob(pattern))[0]
    if content is not None:
        replace(path, content)
    else:
        path.rename(tmp_path / 'removed')
    command = [f'dataset_converters/{name}.py', root, *([out] if name == 'dsec' else []), '--workers', 1]
    assert re.search(f'{name}.py: .*{message}', run_tool(*command, fails=True))
    assert not (out / 'test.txt').exists()


def test_converters_resume(sources, tmp_path, run_tool, monkeypatch):
    root = tmp_path / 'cityscapes'
    shutil.copytree(sources['cityscapes'], root, copy_function=os.link)
    depth = root / 'depth/val/frankfurt/frankfurt_000000_000019_depth.png'
    command = ['dataset_converters/cityscapes.py', root, '--workers', 1]
    assert '4 depth files in' in run_tool(*command)
    content = depth.read_bytes()
    depth.unlink()
    assert '3 of them existed before' in run_tool(*command)
    assert depth.read_bytes() == content
    command = ['dataset_converters/dsec.py', sources['dsec'], tmp_path / 'out', '--workers', 1]
    first, again = run_tool(*command), run_tool(*command)
    assert '3 training and 3 test samples in' in first
    assert 'Note: the complete data set has 8082 and 2809.' in first
    assert '6 existed before' in again
