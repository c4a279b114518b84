import shutil

import cv2
import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, TRANSFORMS

from cen_mm.datasets.modality import Modality

HEIGHT, WIDTH = 96, 128


@pytest.fixture
def coordinates(tmp_path) -> dict:
    """Sample whose values encode the position: red is x, green is y, depth the pixel index, label the 8x8 block index.

    The label only covers the center of the image: four rows and columns less on each side.
    """
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    cv2.imwrite(str(tmp_path / 'rgb.png'), np.stack([0 * x, 2 * y, 2 * x], axis=-1).astype(np.uint8))
    cv2.imwrite(str(tmp_path / 'depth.png'), (1 + y * WIDTH + x).astype(np.uint16))
    label = (y // 8 * 16 + x // 8).astype(np.uint8)[4:-4, 4:-4]
    cv2.imwrite(str(tmp_path / 'label.png'), label)
    paths = {name: str(tmp_path / f'{name}.png') for name in ('rgb', 'depth', 'label')}
    return dict(
        img_path=paths['rgb'], modality_paths=dict(rgb=paths['rgb'], depth=paths['depth']),
        modality_settings=dict(rgb=Modality(), depth=Modality(dtype='uint16', scale=5000)),
        seg_map_path=paths['label'],
        label_map=None, num_classes=255, reduce_zero_label=False, seg_fields=[],
    )  # fmt: skip


@pytest.mark.parametrize('seed', range(8))
def test_training_pipeline_keeps_image_depth_and_label_aligned(config, coordinates, seed):
    np.random.seed(seed)
    cfg = config('cen_refinenet_r101_nyudv2.py')
    pipeline = cfg.train_pipeline
    for step in pipeline:
        step.update(dict(min_side=60) if 'RandomScale' in step.type else {})
        step.update(dict(size=(120, 120)) if 'CenterPad' in step.type else {})
        step.update(dict(crop_size=(120, 120)) if 'RandomCrop' in step.type else {})
    packed = Compose([TRANSFORMS.build(step) for step in pipeline])(coordinates)
    image, depth = packed['inputs']['rgb'].numpy(), packed['inputs']['depth'].numpy()
    label = packed['data_samples'].gt_sem_seg.data[0].numpy()
    assert image.shape == depth.shape == (3, 120, 120)
    number = np.round(depth[0].astype(float) * 5000).astype(int) - 1
    x, y = number % WIDTH, number // WIDTH
    inside = label != 255
    assert inside.mean() > 0.2
    assert np.array_equal(label[inside], (y // 8 * 16 + x // 8)[inside])
    # Cubic interpolation overshoots at the image border and rounds; elsewhere the positions agree within one pixel.
    assert np.percentile(np.abs(image[2] / 2 - x)[inside], 95) <= 1
    assert np.percentile(np.abs(image[1] / 2 - y)[inside], 95) <= 1


@pytest.mark.parametrize('name', ['test_pipeline', 'tta_pipeline'])
def test_test_pipelines_keep_the_label_unchanged(config, coordinates, name):
    packed = Compose([TRANSFORMS.build(step) for step in config('cen_refinenet_r101_nyudv2.py')[name]])(coordinates)
    samples = packed['data_samples'] if name == 'tta_pipeline' else [packed['data_samples']]
    images = packed['inputs'] if name == 'tta_pipeline' else [packed['inputs']]
    assert len(samples) == (6 if name == 'tta_pipeline' else 1)
    full_label = cv2.imread(coordinates['seg_map_path'], cv2.IMREAD_UNCHANGED)
    for image, sample in zip(images, samples):
        assert np.array_equal(sample.gt_sem_seg.data[0].numpy(), full_label)
        assert sample.ori_shape == full_label.shape
        assert sample.img_shape == tuple(image['rgb'].shape[1:])
        number = np.round(image['depth'][0].numpy().astype(float) * 5000).astype(int) - 1
        assert np.percentile(np.abs(image['rgb'][2].numpy() / 2 - number % WIDTH), 90) <= 1.5


@pytest.fixture
def authors_files(parity, tmp_path):
    """The authors' sample as a data set of one image."""
    data = parity('data_and_metrics.npz')
    images = dict(rgb=data['seg_rgb'][..., ::-1], masks=data['seg_mask'], depth=data['seg_depth'].astype(np.uint16))
    for folder, image in images.items():
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / '0.png'), image)
    for name in ('train.txt', 'val.txt'):
        (tmp_path / name).write_text('rgb/0.png\tmasks/0.png\tdepth/0.png\n')
    return tmp_path


def network_input(dataset: dict, root, preprocessor: dict) -> tuple[np.ndarray, np.ndarray]:
    """Returns the network's input and the label of a data set's first sample."""
    packed = DATASETS.build({**dataset, 'data_root': str(root)})[0]
    batch = MODELS.build(preprocessor)(pseudo_collate([packed]))
    return batch['inputs'][0].numpy(), batch['data_samples'][0].gt_sem_seg.data[0].numpy()


def test_test_pipeline_matches_authors(config, parity, authors_files):
    data, cfg = parity('data_and_metrics.npz'), config('cen_refinenet_r101_nyudv2.py')
    image, _ = network_input(cfg.test_dataloader.dataset, authors_files, cfg.data_preprocessor)
    np.testing.assert_allclose(image[:3, ::3, ::3], data['seg_val_rgb'], atol=1e-5)
    for channel in image[3:]:
        assert np.array_equal(channel[::3, ::3], data['seg_val_depth'][0])


def test_training_pipeline_matches_authors(config, parity, authors_files, monkeypatch):
    data, cfg = parity('data_and_metrics.npz'), config('cen_refinenet_r101_nyudv2.py')
    for step in cfg.train_dataloader.dataset.pipeline:
        step.update(dict(min_side=60) if 'RandomScale' in step.type else {})
        step.update(dict(size=(200, 200)) if 'CenterPad' in step.type else {})
        step.update(dict(crop_size=(160, 160)) if 'RandomCrop' in step.type else {})
        step.update(dict(prob=1.0) if 'RandomFlip' in step.type else {})
    offsets = iter(data['seg_crop_top_left'])
    monkeypatch.setattr(np.random, 'uniform', lambda *_: float(data['seg_scale']))
    monkeypatch.setattr(np.random, 'randint', lambda *_: next(offsets))
    image, label = network_input(cfg.train_dataloader.dataset, authors_files, cfg.data_preprocessor)
    np.testing.assert_allclose(image[:3, ::4, ::4], data['seg_train_rgb'], atol=1e-5)
    assert np.array_equal(image[3:, ::4, ::4], data['seg_train_depth'])
    assert np.array_equal(label[::4, ::4], data['seg_train_mask'])


def test_evaluation_matches_authors(tiny_model, parity):
    """Predictions match on 99.9 % of the pixels and scores to 0.05, from the authors' logits at 1/4 resolution."""
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    from cen_mm.segmentation import MultimodalIoUMetric

    data = parity('data_and_metrics.npz')
    model = tiny_model({'decode_head.num_classes': 7})
    metric = MultimodalIoUMetric()
    metric.dataset_meta = dict(classes=list('abcdefg'))
    for i in range(3):
        logits, label = torch.from_numpy(data[f'eval_logits_{i}']), torch.from_numpy(data[f'eval_gt_{i}'])
        model.branches = lambda _, logits=logits: dict.fromkeys(['rgb', 'depth', 'ensemble'], logits[None])
        meta = dict(ori_shape=label.shape, img_shape=label.shape, img_path='', modalities=('rgb', 'depth'))
        sample = SegDataSample(metainfo=meta, gt_sem_seg=PixelData(data=label[None].long()))
        sample = model.predict(torch.zeros(1, 6, *label.shape), [sample])[0]
        for name in ('data', 'rgb', 'depth'):
            same = sample.pred_sem_seg.get(name)[0].numpy() == data[f'eval_pred_{i}']
            assert same.mean() >= 0.999
        metric.process({}, [sample.to_dict()])
    scores = metric.evaluate(3)
    assert [scores[key] for key in ('aAcc', 'mAcc', 'mIoU')] == pytest.approx(list(data['eval_scores']), abs=0.05)


def load(root, cfg, **options):
    return DATASETS.build({**cfg.test_dataloader.dataset, 'data_root': str(root), **options})


def test_reads_the_data_set_layout(nyudv2, config):
    dataset = load(nyudv2, config('cen_refinenet_r101_nyudv2.py'), ann_file='train.txt')
    assert len(dataset) in (4, 48)
    assert len(dataset.metainfo['classes']) == len(set(map(tuple, dataset.metainfo['palette']))) == 40
    sample = dataset[0]
    assert sample['inputs']['rgb'].dtype == torch.uint8
    assert sample['inputs']['depth'].dtype == torch.float32
    assert sample['data_samples'].gt_sem_seg.data.dtype == torch.uint8  # with RGB and depth, 8 bytes per pixel
    depth = sample['inputs']['depth'][0]
    assert 0.5 <= depth[depth > 0].median() < 10  # meters


def test_fewer_classes(nyudv2, config):
    cfg = config('cen_refinenet_r101_nyudv2.py')
    all_classes = load(nyudv2, cfg)[0]['data_samples'].gt_sem_seg.data
    dataset = load(nyudv2, cfg, metainfo=dict(classes=['floor', 'wall']))
    few_classes = dataset[0]['data_samples'].gt_sem_seg.data
    assert torch.equal(few_classes == 1, all_classes == 0)
    assert torch.equal(few_classes == 0, all_classes == 1)
    assert torch.equal(few_classes == 255, all_classes > 1)


def gray(path, value, dtype, shape=(72, 96)):
    cv2.imwrite(str(path), np.full(shape, value, dtype))


INVALID_FILES = {
    'missing file': (lambda root: (root / 'rgb/000004.png').unlink(), FileNotFoundError, 'rgb/000004.png.*line 1'),
    'missing list': (lambda root: (root / 'val.txt').unlink(), FileNotFoundError, 'val.txt does not exist: set'),
    'two columns': (
        lambda root: (root / 'val.txt').write_text('rgb/000004.png\tmasks/000004.png\n'), ValueError,
        'val.txt, line 1 has 2 columns instead of 3: write',
    ),
    'depth of another size': (
        lambda root: gray(root / 'depth/000004.png', 9, np.uint16, (70, 96)), ValueError,
        'depth/000004.png is 96x70, but .*rgb/000004.png is 96x72: align',
    ),
    '8-bit depth': (
        lambda root: gray(root / 'depth/000004.png', 9, np.uint8), ValueError,
        "depth/000004.png is uint8, but depth is uint16: set dtype='uint8' for depth in the data set, and scale",
    ),
    'unreadable depth': (
        lambda root: (root / 'depth/000004.png').write_text('no image'), ValueError, '000004.png cannot be decoded'
    ),
    'label above the classes': (
        lambda root: gray(root / 'masks/000004.png', 40, np.uint8), ValueError,
        'masks/000004.png contains label 40, but the classes are 0 to 39',
    ),
    '16-bit label': (
        lambda root: gray(root / 'masks/000004.png', 3, np.uint16), ValueError, '000004.png is .*save labels as 8'
    ),
    'label larger than the image': (
        lambda root: gray(root / 'masks/000004.png', 3, np.uint8, (80, 96)), ValueError,
        'masks/000004.png is 96x80, but its image .*rgb/000004.png is 96x72: save it in the size of the image or of',
    ),
}  # fmt: skip


@pytest.mark.parametrize('name', INVALID_FILES)
def test_invalid_files_raise_clear_errors(made_nyudv2, config, name):
    corrupt, error, message = INVALID_FILES[name]
    corrupt(made_nyudv2)
    with pytest.raises(error, match=message):
        load(made_nyudv2, config('cen_refinenet_r101_nyudv2.py'))[0]


IMAGE = np.random.default_rng(1).integers(0, 256, (72, 96, 3), np.uint8)  # BGR


@pytest.fixture
def with_more_modalities(made_nyudv2):
    """Data set with folders of two more modalities: `normal` with three channels and `curvature` with one."""
    for name, image in (('normal', IMAGE), ('curvature', IMAGE[..., 0])):
        (made_nyudv2 / name).mkdir()
        for i in range(6):
            cv2.imwrite(str(made_nyudv2 / name / f'{i:06d}.png'), image)
    return made_nyudv2


def paths(*names: str) -> dict:
    return {name: f'{name}/{{}}.png' for name in names}


def test_any_modalities_in_any_order(with_more_modalities, config):
    cfg = config('cen_refinenet_r101_nyudv2.py')
    depth = cfg.test_dataloader.dataset.modalities.depth
    modalities = {'curvature': 'curvature/{}.png', 'depth': depth, **paths('rgb', 'normal')}
    packed = load(with_more_modalities, cfg, modalities=modalities)[0]
    assert packed['data_samples'].modalities == tuple(packed['inputs']) == tuple(modalities)
    normal, curvature = packed['inputs']['normal'], packed['inputs']['curvature']
    assert np.array_equal(normal.permute(1, 2, 0).numpy(), IMAGE[..., ::-1])  # RGB order
    assert np.array_equal(curvature[0].numpy(), IMAGE[..., 0])
    rgb_depth = load(with_more_modalities, cfg)[0]['inputs']
    assert all(torch.equal(rgb_depth[name], packed['inputs'][name]) for name in ('rgb', 'depth'))


@pytest.mark.parametrize('name', ['train_pipeline', 'test_pipeline'])
@pytest.mark.parametrize('modality', ['rgb', 'depth', 'normal'])
def test_files_of_unused_modalities_are_never_read(with_more_modalities, config, modality, name):
    cfg = config('cen_refinenet_r18_nyudv2.py')
    settings = {**cfg.test_dataloader.dataset.modalities, **paths('normal')}
    all_modalities = load(with_more_modalities, cfg, modalities=settings, pipeline=cfg[name])
    single = load(with_more_modalities, cfg, modalities={modality: settings[modality]}, pipeline=cfg[name])
    np.random.seed(3)
    expected = all_modalities[0]['inputs'][modality]
    for other in {'rgb', 'depth', 'normal', 'curvature'} - {modality}:
        shutil.rmtree(with_more_modalities / other)
    np.random.seed(3)
    packed = single[0]
    assert list(packed['inputs']) == [modality]
    assert torch.equal(packed['inputs'][modality], expected)
    assert packed['data_samples'].gt_sem_seg.shape == expected.shape[1:]


def test_labels_of_another_folder(made_nyudv2, config):
    (made_nyudv2 / 'coarse').mkdir()
    for index in (4, 5):
        gray(made_nyudv2 / f'coarse/{index:06d}.png', 7, np.uint8)
    packed = load(made_nyudv2, config('cen_refinenet_r101_nyudv2.py'), label='coarse/{}.png')[0]
    assert (packed['data_samples'].gt_sem_seg.data == 7).all()


@pytest.mark.parametrize(
    ('modalities', 'corrupt', 'error', 'message'),
    [
        (paths('dpeth'), None, FileNotFoundError, 'dpeth/000004.png, required by .*val.txt, line 1, does not exist'),
        (dict(rgb={}, hha={}), None, ValueError, "modalities.hha has no path: give one, such as hha='hha/{}.png'"),
        ({}, None, ValueError, 'NYUDepthV2Dataset.modalities is {}: give a dict with a path for each modality'),
        (['rgb'], None, ValueError, r"modalities is \['rgb'\]: give a dict"),
        (dict(rgb=dict(deep=1)), None, ValueError, "rgb has the unknown settings .'deep'.: use path, dtype"),
        (dict(rgb=dict(scale=0)), None, ValueError, 'modalities.rgb: scale=0: give a positive number'),
        (dict(rgb=dict(dtype='unit8')), None, ValueError, "rgb: dtype='unit8': give a data type of numpy"),
        (dict(rgb=dict(interpolation='x')), None, ValueError, "interpolation='x': choose one of nearest, bilinear"),
        (dict(rgb=dict(vectors='up')), None, ValueError, "vectors='up': choose 'y_up', 'y_down' or None"),
        (
            paths('rgb', 'normal'), lambda path: gray(path, 1, np.uint16), ValueError,
            "normal/000004.png is uint16, but normal is uint8: set dtype='uint16' for normal",
        ),
        (
            paths('rgb', 'normal'), lambda path: gray(path, 1, np.uint8, (72, 90, 3)), ValueError,
            'normal/000004.png is 90x72, but .*rgb/000004.png is 96x72: align normal with rgb',
        ),
        (
            dict(paths('rgb'), normal=dict(path='normal/{}.png', vectors='y_up')),
            lambda path: gray(path, 1, np.uint8, (72, 96)), ValueError, '000004.png has one channel, but normal has v',
        ),
        (paths('rgb', 'normal'), lambda path: path.write_text('no'), ValueError, 'normal/000004.png cannot be deco'),
    ],
)  # fmt: skip
def test_invalid_modalities_raise_clear_errors(with_more_modalities, config, modalities, corrupt, error, message):
    if corrupt:
        corrupt(with_more_modalities / 'normal/000004.png')
    with pytest.raises(error, match=message):
        load(with_more_modalities, config('cen_refinenet_r101_nyudv2.py'), modalities=modalities)[0]


@pytest.mark.parametrize(
    ('options', 'want'),
    [
        (dict(), [0, 1, 2, 255]),
        (dict(reduce_zero_label=True), [255, 0, 1, 255]),
        (dict(ignore_index=2), [0, 1, 255, 255]),
        (dict(reduce_zero_label=True, label_map={0: 1, 1: 0}), [255, 1, 0, 255]),
        (dict(file_label_map={2: 0, 0: 1}), [1, 255, 0, 255]),
    ],
)
def test_labels_of_mmsegs_options(tmp_path, options, want):
    path = tmp_path / 'label.png'
    cv2.imwrite(str(path), np.array([[0, 1, 2, 255]], np.uint8))
    keys = dict(seg_map_path=str(path), num_classes=3, seg_fields=[], img_shape=(1, 4), ori_shape=(1, 4))
    results = {**keys, **options}
    label = TRANSFORMS.build(dict(type='cen_mm.LoadLabels'))(results)['gt_seg_map']
    assert label.dtype == np.uint8
    assert label[0].tolist() == want


@pytest.mark.parametrize(
    'step', [dict(type='cen_mm.Resize', scale_factor=0.5), dict(type='cen_mm.RandomFlip', prob=0.5)]
)
def test_labels_are_loaded_before_images_move(made_nyudv2, config, step):
    dataset = config('cen_refinenet_r18_nyudv2.py').train_dataloader.dataset
    dataset.update(data_root=str(made_nyudv2))
    dataset.pipeline.insert(1, step)
    with pytest.raises(ValueError, match='images move before their label is loaded: put LoadLabels after LoadModal'):
        DATASETS.build(dataset)[0]
