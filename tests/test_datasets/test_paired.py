"""PairedImageDataset: value ranges of every file type, masks, sizes, aligned pipelines, and an error per mistake."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import DATASETS

CONFIG = Config.fromfile(Path(__file__).parents[2] / 'configs/_base_/datasets/paired.py')
LOAD, PACK = CONFIG.load, CONFIG.test_pipeline[-1]
RNG = np.random.default_rng(0)
DAY = RNG.integers(0, 256, (20, 24, 3), np.uint8)
NIGHT = RNG.integers(0, 256, (20, 24), np.uint8)
THERMAL = RNG.integers(0, 65536, (20, 24)).astype(np.uint16)
NORMAL = RNG.uniform(-1, 1, (20, 24, 3)).astype(np.float32)
MASK = RNG.integers(0, 2, (20, 24), np.uint8) * 7
NAMES = ('a/0001', 'a/0002', 'b/0001')
KELVIN = dict(path='ther/{}.png', dtype='uint16', scale=100, range=(0, 500))
VECTORS = dict(path='normal/{}.npy', dtype='float32', range=(-1, 1))


def write(root: Path, file: str, image: np.ndarray) -> None:
    path = root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == '.npy':
        np.save(path, image)
    else:
        cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image)


@pytest.fixture
def root(tmp_path) -> Path:
    """Three samples in two subfolders, two of them with the same file name."""
    for name in NAMES:
        images = {'day/{}.png': DAY, 'night/{}_n.png': NIGHT, 'ther/{}.png': THERMAL, 'mask/{}.png': MASK}
        for pattern, image in {**images, 'normal/{}.npy': NORMAL}.items():
            write(tmp_path, pattern.replace('{}', name), image)
    (tmp_path / 'train.txt').write_text('b/0001\na/0002\n')
    return tmp_path


def build(root, pipeline=(LOAD, PACK), **options):
    dataset = dict(
        type='cen_mm.PairedImageDataset',
        data_root=str(root),
        inputs=dict(day='day/{}.png'),
        target=dict(night='night/{}_n.png'),
        pipeline=list(pipeline),
    )
    return DATASETS.build({**dataset, **options})


def test_names_come_from_the_list_or_from_all_folders(root):
    everything, listed = build(root), build(root, ann_file='train.txt')
    assert [everything.get_data_info(i)['sample_name'] for i in range(3)] == list(NAMES)
    assert [sample['data_samples'].sample_name for sample in listed] == ['b/0001', 'a/0002']
    info = listed.get_data_info(0)
    assert info['modality_paths'] == dict(day=str(root / 'day/b/0001.png'))
    assert info['target_path'] == str(root / 'night/b/0001_n.png')
    assert listed.metainfo == dict(modalities=('day',), target='night')


def test_values_of_every_file_type(root):
    inputs = dict(
        day='day/{}.png',
        red=dict(path='day/{}.png', channels=[0]),
        stretched=dict(path='night/{}_n.png', range=(10, 110)),
        thermal=KELVIN,
        normal=VECTORS,
    )
    sample = build(root, inputs=inputs)[0]
    images = dict(zip(inputs, sample['inputs'].split(3)))
    assert sample['inputs'].dtype == torch.float32
    assert sample['data_samples'].modalities == tuple(inputs)
    want = dict(
        day=DAY / 127.5 - 1,
        red=DAY[..., 0] / 127.5 - 1,
        stretched=(NIGHT.astype(float).clip(10, 110) - 60) / 50,
        thermal=(THERMAL / 100.0).clip(max=500) / 250 - 1,
        normal=NORMAL,
    )
    for name, image in want.items():
        image = np.broadcast_to(np.atleast_3d(image), (20, 24, 3)).transpose(2, 0, 1)
        np.testing.assert_allclose(images[name], image, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(sample['data_samples'].gt_img[1], NIGHT / 127.5 - 1, atol=1e-6)
    assert sample['data_samples'].mask.min() == 1
    assert len(images['thermal'].unique()) > 300  # 16 bits, not rounded to 8


def test_pixels_without_measurement_do_not_count_in_the_target(root):
    normal = NORMAL.copy()
    normal[2, 3] = 0  # invalid in all channels
    normal[4, 5, 0] = 0  # a measurement
    normal[6, 7, 1], normal[8, 9, 2] = np.nan, np.inf
    write(root, 'normal/a/0001.npy', normal)
    sample = build(root, target=dict(normal=dict(VECTORS, invalid=0)))[0]['data_samples']
    missing = torch.zeros(20, 24, dtype=torch.bool)
    missing[2, 3] = missing[6, 7] = missing[8, 9] = True
    assert torch.equal(sample.mask[0] == 0, missing)
    assert (sample.gt_img[:, missing] == -1).all()
    np.testing.assert_allclose(sample.gt_img[:, ~missing], normal.transpose(2, 0, 1)[:, ~missing], atol=1e-6)
    night = build(root, target=dict(night=dict(path='night/{}_n.png', invalid=int(NIGHT[0, 0]))))[0]['data_samples']
    assert np.array_equal(night.mask[0] == 0, np.equal(NIGHT, NIGHT[0, 0]))


def test_pixels_outside_the_mask_keep_their_values_and_do_not_count(root):
    sample = build(root, mask='mask/{}.png')[0]['data_samples']
    assert np.array_equal(sample.mask[0], MASK > 0)
    np.testing.assert_allclose(sample.gt_img[0], NIGHT / 127.5 - 1, atol=1e-6)
    resize = dict(type='cen_mm.ResizeImages', size=(10, 12))
    smaller = build(root, [LOAD, resize, PACK], mask='mask/{}.png')[0]['data_samples'].mask
    # Pillow's bilinear filter has a support of two output pixels, that is four input pixels per side.
    fully_inside = F.conv2d(torch.from_numpy(MASK > 0).float()[None, None], torch.ones(1, 1, 2, 2), stride=2) == 4
    assert not (smaller.bool() & ~fully_inside[0]).any()
    write(root, 'mask/a/0001.png', np.pad(np.full((20, 12), 1, np.uint8), ((0, 0), (0, 12))))
    halves = build(root, [LOAD, resize, PACK], mask='mask/{}.png')[0]['data_samples'].mask
    assert torch.equal(halves[0], (torch.arange(12) < 5).float().expand(10, 12))
    flags = build(root, inputs=dict(mask='mask/{}.png'), mask=dict(path='day/{}.png', channels=[1]))[1]
    assert np.array_equal(flags['data_samples'].mask[0], DAY[..., 1] > 0)  # an input may be named mask


def test_target_is_optional_in_tests_only(root):
    sample = build(root, target=None, test_mode=True)[2]
    assert sample['inputs'].shape == (3, 20, 24)
    assert sample['data_samples'].keys() == []
    assert sample['data_samples'].sample_name == 'b/0001'
    with pytest.raises(ValueError, match='PairedImageDataset has no target, but training needs one: set target='):
        build(root, target=None)
    with pytest.raises(ValueError, match='has no target, but a mask needs one'):
        build(root, target=None, mask='mask/{}.png', test_mode=True)


def test_another_size_is_resized_only_on_request(root):
    write(root, 'ther/a/0001.png', THERMAL[:10, :12])
    write(root, 'mask/a/0001.png', MASK[:10, :12])
    inputs = dict(day='day/{}.png', thermal=KELVIN)
    with pytest.raises(ValueError, match=r'ther.a.0001.png is 12x10, but .*day.a.0001.png is 24x20: .* resize=True'):
        build(root, inputs=inputs)[0]
    with pytest.raises(ValueError, match=r'mask.a.0001.png is 12x10, but .* resize=True for mask in the data set'):
        build(root, mask='mask/{}.png')[0]
    inputs['thermal'] = dict(KELVIN, resize=True, invalid=int(THERMAL[0, 1]))
    sample = build(root, inputs=inputs, mask=dict(path='mask/{}.png', resize=True))[0]
    small = (THERMAL[:10, :12] / 100.0).clip(max=500) / 250 - 1
    small[THERMAL[:10, :12] == THERMAL[0, 1]] = -1
    np.testing.assert_allclose(sample['inputs'][3], small.repeat(2, 0).repeat(2, 1), atol=1e-6)
    assert np.array_equal(sample['data_samples'].mask[0], (MASK[:10, :12] > 0).repeat(2, 0).repeat(2, 1))
    inputs['thermal'].update(interpolation='bilinear')
    near = build(root, inputs=inputs)[0]['inputs'][3, :2, 1:5]
    assert (near == -1).all()  # every pixel interpolated from the invalid one


def test_float_images_are_resized_like_8_bit_images(root):
    pipeline = [LOAD, dict(type='cen_mm.ResizeImages', size=(9, 13)), PACK]
    inputs = dict(day='day/{}.png', floats=dict(path='day/{}.png', range=(0, 255)), thermal=KELVIN)
    day, floats, thermal = build(root, pipeline, inputs=inputs)[0]['inputs'].split(3)
    assert (day - floats).abs().max() <= 1.01 / 127.5  # Pillow rounds to 8 bits twice, after each dimension
    values = torch.from_numpy((THERMAL / 100.0).clip(max=500) / 250 - 1)[None, None]
    want = F.interpolate(values, (9, 13), mode='bilinear', antialias=True)
    np.testing.assert_allclose(thermal[:1], want[0], atol=1e-5)


def test_training_pipeline_keeps_all_images_aligned(root):
    """Values encode the position; the x component of the normals changes its sign with the flip."""
    y, x = np.mgrid[:60, :80]
    position = np.stack([3 * x, 4 * y, 0 * x], -1).astype(np.uint8)
    write(root, 'day/a/0001.png', position)
    write(root, 'night/a/0001_n.png', (3 * x).astype(np.uint8))
    write(root, 'ther/a/0001.png', (100 * x + 60 * 100 * 100 * (y == 9)).astype(np.uint16))
    write(root, 'normal/a/0001.npy', np.stack([(x + 1) / 100, y / 100, np.where(x == 5, np.nan, 0)], -1, dtype='f4'))
    write(root, 'mask/a/0001.png', (x % 7 > 0).astype(np.uint8))
    sizes = {'ResizeImages': dict(size=(60, 80)), 'CropImages': dict(size=(32, 48))}
    pipeline = [dict(step, **sizes.get(step.type.split('.')[1], {})) for step in CONFIG.train_pipeline]
    inputs = dict(day='day/{}.png', thermal=KELVIN, normal=dict(VECTORS, vectors='y_up'))
    dataset = build(root, pipeline, inputs=inputs, mask='mask/{}.png')
    flips = set()
    for seed in range(20):
        np.random.seed(seed)
        sample = dataset[0]
        day, thermal, normal = sample['inputs'].split(3)
        columns, rows = (((day[i] + 1) * 127.5).round() / (3, 4)[i] for i in range(2))
        flips.add(flip := bool(columns[0, 0] > columns[0, -1]))
        torch.testing.assert_close(sample['data_samples'].gt_img[0], 3 * columns / 127.5 - 1)
        assert torch.equal(sample['data_samples'].mask[0], (columns % 7 > 0).float())
        torch.testing.assert_close(thermal[0][rows != 9], (columns / 250 - 1)[rows != 9])
        known = columns != 5
        torch.testing.assert_close(normal[0][known], ((-1) ** flip * (columns + 1) / 100)[known], atol=1e-6, rtol=0)
        torch.testing.assert_close(normal[1][known], (rows / 100)[known], atol=1e-6, rtol=0)
        assert (normal[:, ~known] == -1).all()
    assert flips == {False, True}


def test_equals_taskonomy_on_8_bit_files(root):
    options = dict(data_root=str(root / 'rooms'), ann_file='')
    for domain in ('normal', 'rgb'):
        write(root, f'rooms/{domain}/1_{domain}.png', DAY if domain == 'rgb' else NIGHT)
    size = dict(type='cen_mm.ResizeImages', size=(30, 17))
    taskonomy = dict(type='cen_mm.TaskonomyDataset', inputs=['normal'], target='rgb', **options)
    want = DATASETS.build(dict(taskonomy, pipeline=[dict(type='cen_mm.LoadTaskonomyImages'), size, PACK]))[0]
    paths = {name: f'{name}/{{}}_{name}.png' for name in ('normal', 'rgb')}
    got = build(
        None, [LOAD, size, PACK], inputs=dict(normal=paths['normal']), target=dict(rgb=paths['rgb']), **options
    )
    assert torch.equal(got[0]['inputs'], want['inputs'])
    assert torch.equal(got[0]['data_samples'].gt_img, want['data_samples'].gt_img)
    assert torch.equal(got[0]['data_samples'].mask, want['data_samples'].mask)


def of(name: str = 'day', path: str = 'day/{}.png', **settings) -> dict:
    return dict(inputs={name: dict(path=path, **settings)})


WRONG = [
    (dict(inputs={}), ValueError, 'PairedImageDataset.inputs is {}: give a dict with a path per input'),
    (dict(inputs=['day']), ValueError, r"PairedImageDataset.inputs is \['day'\]: give a dict"),
    (dict(target='night/{}_n.png'), ValueError, "PairedImageDataset.target is 'night/.*': give one name with its"),
    (dict(target=dict(a='a/{}.png', b='b/{}.png')), ValueError, 'give one name .* _delete_=True if the base config'),
    (dict(target=dict(day='night/{}_n.png')), ValueError, "target 'day' is also an input: remove it there, or"),
    (of(bits=16), ValueError, r"PairedImageDataset.inputs.day has the unknown settings \['bits'\]: use path, .*range"),
    (dict(target=dict(a=dict(rnge=1))), ValueError, r"PairedImageDataset.target.a has the unknown settings"),
    (dict(mask=dict(range=(0, 1))), ValueError, r"PairedImageDataset.mask has the unknown settings \['range'\]"),
    (of(dtype='uint16'), ValueError, r'inputs.day: uint16 values have no usual range: give range=\(low, high\), wh'),
    (of(scale=100), ValueError, 'inputs.day: uint8 values divided by 100 have no usual range: give'),
    (of(range=(1, 1)), ValueError, r'inputs.day: range=\(1, 1\): give two numbers \(low, high\) with low < high'),
    (of(range=5), ValueError, r'inputs.day: range=5: give two numbers \(low, high\)'),
    (of(range=(0, 1), vectors='y_up'), ValueError, r'range=\(0, 1\): vectors need a symmetric range, such as \(-1, 1'),
    (of(pad_val=3), ValueError, 'inputs.day: pad_val is not used for translation: remove it'),
    (of(dtype='uint16', range=(0, 9)), ValueError, "0001.png is uint8, but day is uint16: set dtype='uint8' for day"),
    (of('t', 'ther/{}.png'), ValueError, "0001.png is uint16, but t is uint8: set dtype='uint16' for t in the data"),
    (of(channels=[0, 1]), ValueError, r'0001.png has 2 channels, but an image to translate has 1 or 3: select'),
    (of('n', 'night/{}_n.png', vectors='y_up'), ValueError, '0001_n.png has one channel, but n has vectors: remove'),
    (dict(mask='day/{}.png'), ValueError, r'0001.png has 3 channels, but a mask has one: select it with'),
    (of(path='tag/{}.png'), FileNotFoundError, 'The folder .*tag of day does not exist: correct data_root or'),
    (of(path='empty/{}.png'), FileNotFoundError, "empty contains no file 'empty/{}.png' of day: correct the path"),
    (of(path='other/{}.png'), FileNotFoundError, r'no common file name \(day: x; night: a/0001\): {} in the paths'),
    (dict(mask='empty/{}.png'), FileNotFoundError, "contains no file 'empty/{}.png' of mask of night: correct"),
    (of(path='{}/{}.png'), ValueError, "path of day, '{}/{}.png', has {} more than once, .* set ann_file to a list"),
    (of(path='day/1.png'), ValueError, "the path of day is 'day/1.png': write {} in place of the name of the sample"),
    (dict(ann_file='val.txt'), FileNotFoundError, 'The list file .*val.txt does not exist: set data_root'),
    (dict(ann_file='none.txt'), ValueError, 'none.txt is empty: write one sample per line'),
    (dict(ann_file='bad.txt'), FileNotFoundError, 'day/c.png, required by .*bad.txt, line 2, does not exist: add the'),
]  # fmt: skip


@pytest.mark.parametrize(('options', 'error', 'message'), WRONG, ids=lambda value: str(value)[:50])
def test_mistakes_raise_clear_errors(root, options, error, message):
    (root / 'empty').mkdir()
    write(root, 'other/x.png', DAY)
    (root / 'none.txt').write_text('\n')
    (root / 'bad.txt').write_text('a/0001\nc\n')
    with pytest.raises(error, match=message) as raised:
        build(root, **options)[0]
    assert '\n' not in str(raised.value)
