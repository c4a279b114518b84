"""Tests of Taskonomy: list files and folders, value ranges, aligned crops and flips, error messages."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, TRANSFORMS

from cen_mm.datasets.taskonomy import MODALITIES

BASE = Path(__file__).parents[2] / 'configs/_base_/datasets'
CONFIG = Config.fromfile(BASE / 'taskonomy_shade-texture2rgb.py')
DEPTHS = ('depth_euclidean', 'depth_zbuffer')
SIXTEEN_BIT = (*DEPTHS, 'edge_occlusion', 'edge_texture')
NAME = '{domain}/point_4_view_0_domain_{domain}.png'


def write(root, images: dict, name: str = NAME):
    """Writes the files of one scene from RGB or gray images."""
    for domain, image in images.items():
        path = root / name.replace('{domain}', domain)
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image)


@pytest.fixture
def scene(tmp_path):
    """Data set with one 24x20 scene in all modalities, and a list file."""
    rng = np.random.default_rng(0)
    images = {}
    for domain in MODALITIES:
        high, dtype = (11355, np.uint16) if domain in SIXTEEN_BIT else (256, np.uint8)
        images[domain] = rng.integers(0, high, (20, 24), dtype)
    write(tmp_path, images)
    (tmp_path / 'test_domain.txt').write_text(f'{NAME}\n\n')
    return tmp_path


def load(root, pipeline=(), **options):
    dataset = dict(type='cen_mm.TaskonomyDataset', data_root=str(root), ann_file='test_domain.txt', pipeline=pipeline)
    return DATASETS.build({**dataset, **options})


def with_sizes(pipeline: list[dict], resize: tuple, crop: tuple = (), prob: float = 0.5) -> list[dict]:
    """Returns the config's pipeline with other sizes."""
    new = {'ResizeImages': dict(size=resize), 'CropImages': dict(size=crop), 'FlipImages': dict(prob=prob)}
    return [dict(step, **new.get(step.type.split('.')[1], {})) for step in pipeline]


@pytest.fixture
def authors_scene(tmp_path, parity):
    data = parity('data_and_metrics.npz')
    write(tmp_path, {domain: data[f'task_in_{domain}'] for domain in MODALITIES})
    (tmp_path / 'test_domain.txt').write_text(NAME)
    return tmp_path


def test_test_pipeline_matches_authors(parity, authors_scene):
    data, pipeline = parity('data_and_metrics.npz'), with_sizes(CONFIG.test_pipeline, (48, 48))
    packed = load(authors_scene, pipeline, inputs=range(10), target=6)[0]
    for domain, image in zip(MODALITIES, packed['inputs'].split(3)):
        np.testing.assert_allclose(image[:, ::3, ::3], data[f'task_out_{domain}'], atol=1e-5, err_msg=domain)
    assert torch.equal(packed['data_samples'].gt_img, packed['inputs'][18:21])


def test_training_pipeline_matches_authors(parity, authors_scene, monkeypatch):
    data = parity('data_and_metrics.npz')
    pipeline = with_sizes(CONFIG.train_pipeline, (40, 40), (32, 32), prob=1.0)
    top_left = iter(data['task_crop_left_top'][::-1])
    monkeypatch.setattr(np.random, 'randint', lambda *_: next(top_left))
    packed = load(authors_scene, pipeline)[0]
    images = [*packed['inputs'].split(3), packed['data_samples'].gt_img]
    for domain, image in zip(('reshading', 'edge_texture', 'rgb'), images):
        np.testing.assert_allclose(image, data[f'task_train_{domain}'], atol=1e-5)


@pytest.fixture
def coordinates(tmp_path):
    """Scene whose values encode the position: 8-bit images by color, 16-bit ones by value; depth misses one block."""
    y, x = np.mgrid[:60, :80]
    position = np.stack([3 * x, 4 * y, 0 * x], -1).astype(np.uint8)
    depth = (2 ** (x // 8)).astype(np.uint16)
    depth[y // 16 == 1] = 65535
    images = dict.fromkeys(('rgb', 'normal', 'reshading'), position)
    write(tmp_path, {**images, 'edge_texture': (141 * x).astype(np.uint16), 'depth_euclidean': depth})
    (tmp_path / 'test_domain.txt').write_text(NAME)
    return tmp_path


def test_training_pipeline_keeps_all_images_aligned(coordinates):
    pipeline = with_sizes(CONFIG.train_pipeline, (60, 80), (32, 48))
    inputs = ['normal', 'edge_texture', 'depth_euclidean', 'reshading']
    data = load(coordinates, pipeline, inputs=inputs, target='rgb')
    depths = load(coordinates, pipeline, inputs=inputs, target='depth_euclidean')
    corners, flipped = set(), set()
    for seed in range(60):
        np.random.seed(seed)
        packed = data[0]
        image = ((packed['inputs'] + 1) * 127.5).round().int()
        assert image.shape == (12, 32, 48)
        x, y = image[0] // 3, image[1] // 4
        assert torch.equal(packed['data_samples'].gt_img, packed['inputs'][:3])
        assert torch.equal(image[9:], image[:3])
        assert torch.equal(image[3], (141 * x * 255 // 11355).int())
        log = torch.log(1 + 2.0 ** (x // 8)) / 11.1 * 255
        assert torch.equal(image[6], torch.where(y // 16 == 1, 0, log).int())
        corners.add((int(y.min()), int(x.min())))
        flipped.add(bool(x[0, 0] > x[0, -1]))
        np.random.seed(seed)
        mask = depths[0]['data_samples'].mask
        assert torch.equal(mask[0] == 0, y // 16 == 1)
    assert flipped == {False, True}
    # Every position inside may be drawn, including the last, and none outside.
    assert {top for top, _ in corners} >= {0, 28}
    assert {left for _, left in corners} <= set(range(33))


def test_missing_depth_becomes_zero_and_is_masked(scene):
    """65534 is the largest depth; 65535 is missing and becomes 0, unlike valid depth, and is not interpolated."""
    depth = np.full((20, 24), 65534, np.uint16)
    depth[:, :4] = 65535
    depth[:, 20:] = 1
    write(scene, dict.fromkeys(DEPTHS, depth))
    pipeline = CONFIG.test_pipeline
    for size, known_from in (((20, 24), 4), ((10, 12), 3)):
        packed = load(scene, with_sizes(pipeline, size), inputs=DEPTHS, target=3)[0]
        sample, row = packed['data_samples'], ((packed['inputs'][3, 0] + 1) * 127.5).round()
        assert torch.equal(packed['inputs'][:3], sample.gt_img)
        assert row[:known_from].unique().tolist() == [0]
        assert row[known_from].item() == 254
        assert row[-1].item() == 15  # log(2) / 11.1 * 255
        assert sample.mask.shape == (1, *size)
        assert torch.equal(sample.mask[0], (torch.arange(size[1]) >= known_from).float().expand(size))


def test_edge_values_above_the_range_stay_white(scene):
    write(scene, {'edge_texture': np.full((20, 24), 11356, np.uint16)})
    assert load(scene, with_sizes(CONFIG.test_pipeline, (20, 24)))[0]['inputs'][3:].min() == 1


def test_modalities_by_number_and_by_name(scene):
    by_number, by_name = load(scene, inputs=[3, 'normal'], target=2), load(scene, inputs=DEPTHS[:1] + MODALITIES[1:2])
    assert by_number.metainfo == dict(modalities=('depth_euclidean', 'normal'), target='reshading')
    assert list(by_number[0]['modality_paths'].items()) == list(by_name[0]['modality_paths'].items())
    assert by_number[0]['target_path'] == str(scene / NAME.replace('{domain}', 'reshading'))


def test_folder_without_list(scene):
    images = dict.fromkeys(('normal', 'edge_occlusion'), np.zeros((20, 24), np.uint8))
    write(scene, images, '{domain}/0001.png')
    write(scene, images, '{domain}/0002_{domain}.png')
    (scene / 'normal/notes.txt').touch()
    paths = [list(sample['modality_paths'].values()) for sample in load(scene, ann_file='', inputs=[1], target=6)]
    assert [path[0].rsplit('/')[-1] for path in paths] == [
        '0001.png', '0002_normal.png', 'point_4_view_0_domain_normal.png',
    ]  # fmt: skip
    assert load(scene, ann_file='', inputs=[1], target=6)[1]['target_path'].endswith(
        'edge_occlusion/0002_edge_occlusion.png'
    )


def test_reads_rooms_data_set(rooms):
    cfg = Config.fromfile(BASE / 'rooms_shade-texture2rgb.py')
    options = dict(data_root=str(rooms), inputs=MODALITIES, target=0)
    train = DATASETS.build(dict(cfg.train_dataloader.dataset, **options))
    val = DATASETS.build(dict(cfg.val_dataloader.dataset, **options))
    assert [len(train), len(val)] == [4, 2]
    for dataset in (train, val):
        packed = dataset[1]
        assert packed['inputs'].shape == (30, 64, 64)
        assert packed['inputs'].dtype == torch.float32
        for domain, image in zip(MODALITIES, packed['inputs'].split(3)):
            assert image.min() >= -1, domain
            assert image.max() <= 1, domain
            assert image.std() > 0.01, domain
        sample = packed['data_samples']
        assert torch.equal(sample.gt_img, packed['inputs'][:3])
        assert sample.mask.min() == 1
        assert sample.metainfo['modalities'] == MODALITIES
        assert sample.metainfo['sample_idx'] == 1
        assert sample.metainfo['ori_shape'] == (60, 80)
    loader = [val[0], val[1]]
    batch = MODELS.build(dict(type='mmengine.ImgDataPreprocessor'))(pseudo_collate(loader))
    assert batch['inputs'].shape == (2, 30, 64, 64)
    assert torch.equal(batch['inputs'][1], val[1]['inputs'])


def test_pipeline_without_target(scene):
    """Images for inference have no target."""
    paths = load(scene)[0]['modality_paths']
    pipeline = Compose([TRANSFORMS.build(step) for step in CONFIG.test_pipeline])
    packed = pipeline(dict(modality_paths=paths))
    assert packed['inputs'].shape == (6, 256, 256)
    assert packed['data_samples'].keys() == []


def reshading(root):
    return root / NAME.replace('{domain}', 'reshading')


INVALID_INPUTS = {
    'missing list': (dict(ann_file='no.txt'), None, FileNotFoundError, 'no.txt does not exist: set data_root'),
    'missing file': (
        {}, lambda root: reshading(root).unlink(), FileNotFoundError,
        'domain_reshading.png, required by .* in .*test_domain.txt, line 1, does not exist: add .*remove the sample',
    ),
    'no placeholder': (
        {}, lambda root: (root / 'test_domain.txt').write_text('rgb/1.png'), ValueError,
        "test_domain.txt, line 1 is 'rgb/1.png', without a placeholder: write {domain} in place",
    ),
    'empty list': (
        {}, lambda root: (root / 'test_domain.txt').write_text('\n'), ValueError,
        'test_domain.txt contains no images: write one path per line',
    ),
    'empty folder': (
        dict(ann_file=''), lambda root: reshading(root).unlink(), ValueError, 'contains no images: .* put PNG'
    ),
    'missing folder': (
        dict(ann_file='', data_root='nowhere'), None, FileNotFoundError, 'nowhere/reshading does not exist: set'
    ),
    'unknown modality': (
        dict(inputs=['shade']), None, ValueError,
        "no modality 'shade': choose one of 0 rgb, 1 normal, .* 9 segment_unsup25d",
    ),
    'unknown number': (dict(target=10), None, ValueError, 'no modality 10: choose one of 0 rgb'),
    'repeated modality': (dict(inputs=[2, 'reshading']), None, ValueError, 'without duplicates'),
    'no modality': (dict(inputs=[]), None, ValueError, 'give at least one modality'),
    '8-bit edges': (
        {}, lambda root: write(root, {'edge_texture': np.zeros((20, 24), np.uint8)}), ValueError,
        'domain_edge_texture.png is uint8 .20, 24.: save edge_texture as 16-bit with one channel',
    ),
    '16-bit color': (
        {}, lambda root: write(root, {'rgb': np.zeros((20, 24), np.uint16)}), ValueError,
        'domain_rgb.png is uint16: save rgb as 8-bit',
    ),
    'different size': (
        {}, lambda root: write(root, {'rgb': np.zeros((24, 24), np.uint8)}), ValueError,
        'domain_rgb.png is 24x24, but .*domain_reshading.png is 24x20: align',
    ),
    'empty file': ({}, lambda root: reshading(root).write_bytes(b''), ValueError, 'reshading.png cannot be decoded'),
    'not an image': ({}, lambda root: reshading(root).write_text('no'), ValueError, 'reshading.png cannot be decoded'),
    'large crop': (
        dict(pipeline=[dict(type='cen_mm.LoadTaskonomyImages'), dict(type='cen_mm.CropImages', size=(21, 8))]), None,
        ValueError, r'CropImages.size is \(21, 8\), but the images are \(20, 24\): resize them',
    ),
}  # fmt: skip


@pytest.mark.parametrize('name', INVALID_INPUTS)
def test_invalid_files_and_arguments_raise_clear_errors(scene, name):
    options, corrupt, error, message = INVALID_INPUTS[name]
    if corrupt:
        corrupt(scene)
    with pytest.raises(error, match=message):
        load(scene, **{'pipeline': CONFIG.test_pipeline, **options})[0]
