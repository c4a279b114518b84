"""Tests of the dataset converters on small files in the official formats."""

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import h5py
import hha
import numpy as np
import pytest
from mmengine.registry import DATASETS
from scipy.io import loadmat, savemat

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / 'tools' / 'dataset_converters'
NYUDV2 = Path(os.environ.get('CEN_MM_NYUDV2', '/nowhere'))
META = NYUDV2.parent / 'nyudv2-meta'
RAW_TO_40 = np.arange(894) * 7 % 40 + 1  # classes 1 to 40 for raw labels 1 to 894


def nyu_pixel(i: int, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Computes RGB, raw label and depth in meters at pixels (x, y) of image i. The values distinguish x from y."""
    rgb = np.stack([x % 251, y % 241, 0 * x + 50 * i], axis=-1).astype(np.uint8)
    raw = np.where(x < 20, 0, (x // 20 * 31 + y // 20 * 3 + i) % 894 + 1).astype(np.uint16)
    return rgb, raw, (0.5 + x / 100 + y / 1000).astype(np.float32)


@pytest.fixture(scope='module')
def nyu_source(tmp_path_factory) -> Path:
    """Folder with nyu_depth_v2_labeled.mat (four images; 1 and 4 for training), splits.mat and classMapping40.mat."""
    root = tmp_path_factory.mktemp('nyu_source')
    x, y = np.mgrid[:640, :480]  # W before H, as HDF5 stores MATLAB's arrays
    pixels = [nyu_pixel(i, x, y) for i in range(4)]
    with h5py.File(root / 'nyu_depth_v2_labeled.mat', 'w') as file:
        file['images'] = np.stack([rgb.transpose(2, 0, 1) for rgb, _, _ in pixels])
        file['labels'] = np.stack([raw for _, raw, _ in pixels])
        file['depths'] = np.stack([depth for _, _, depth in pixels])
    savemat(root / 'splits.mat', dict(trainNdxs=np.uint16([[1], [4]]), testNdxs=np.uint16([[2], [3]])))
    savemat(root / 'classMapping40.mat', dict(mapClass=np.uint8([RAW_TO_40])))
    return root


@pytest.fixture(scope='module')
def sun_source(tmp_path_factory) -> Path:
    """Folder with SUNRGBD/ and SUNRGBDtoolbox/: three images of three sizes; the second and third are for training."""
    root = tmp_path_factory.mktemp('sun_source')
    rng = np.random.default_rng(0)
    image_dirs = ['kv2/kinect2data/000002_x-resize', 'kv1/NYUdata/NYU0001', 'xtion/sun3ddata/brown/0001-1']
    for folder in ('SUNRGBDtoolbox/Metadata', 'SUNRGBDtoolbox/traintestSUNRGBD'):
        (root / folder).mkdir(parents=True)
    meta = np.empty((1, 3), dtype=[(name, object) for name in ('rgbpath', 'rgbname', 'depthpath', 'depthname', 'K')])
    with h5py.File(root / 'SUNRGBDtoolbox/Metadata/SUNRGBD2Dseg.mat', 'w') as file:
        labels = file.create_dataset('SUNRGBD2Dseg/seglabel', (3, 1), h5py.ref_dtype)
        for i, image_dir in enumerate(image_dirs):
            size = (48, 56 + 8 * i)
            for folder, kind in (('image', 'jpg'), ('depth', 'png'), ('depth_bfx', 'png')):
                path = root / 'SUNRGBD' / image_dir / folder / f'000{i}.{kind}'
                path.parent.mkdir(parents=True)
                high, dtype = (256, np.uint8) if kind == 'jpg' else (65536, np.uint16)
                cv2.imwrite(str(path), rng.integers(0, high, (*size, 3) if kind == 'jpg' else size, dtype))
            official = f'/n/fs/sun3d/data/SUNRGBD/{image_dir}/{"/" if i == 2 else ""}'
            camera = np.array([[500.5 + i, 0, 20], [0, 510, 30], [0, 0, 1]])
            depth_path = f'{official}/depth/000{i}.png'
            meta[0, i] = (f'{official}/image/000{i}.jpg', f'000{i}.jpg', depth_path, f'000{i}.png', camera)
            file[f'#refs#/{i}'] = rng.integers(0, 38, size).astype(np.uint16).T
            labels[i, 0] = file[f'#refs#/{i}'].ref
    savemat(root / 'SUNRGBDtoolbox/Metadata/SUNRGBDMeta.mat', dict(SUNRGBDMeta=meta))
    write_allsplit(root, [image_dirs[1], image_dirs[2] + '/'], [image_dirs[0]])
    return root


def write_allsplit(root: Path, train: list[str], test: list[str]) -> None:
    cells = [np.array([[f'/n/fs/sun3d/data/SUNRGBD/{path}' for path in paths]], object) for paths in (train, test)]
    savemat(root / 'SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat', dict(alltrain=cells[0], alltest=cells[1]))


def command_line(source: Path, out: Path, *options: str) -> list[str]:
    """Returns the command line of the converter for this source."""
    if (source / 'SUNRGBD').exists():
        command = ['sunrgbd.py', source / 'SUNRGBD', out, '--meta', source / 'SUNRGBDtoolbox']
    else:
        command = ['nyudv2.py', source / 'nyu_depth_v2_labeled.mat', out, '--meta', source]
    return [str(TOOLS / command[0]), *map(str, (*command[1:], *options))]


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a converter in this process, which saves the import time, and returns its output."""

    def run_tool(source: Path, out: Path, *options: str) -> str:
        command = command_line(source, out, *options)
        monkeypatch.setattr(sys, 'argv', command)
        runpy.run_path(command[0], run_name='__main__')
        return capsys.readouterr().out

    return run_tool


@pytest.fixture(scope='module')
def command_outputs(nyu_source, sun_source, tmp_path_factory) -> dict[str, tuple[Path, str]]:
    """Runs each converter once as a command; returns its output folder and its standard output."""
    results = {}
    for name, source in (('nyudv2', nyu_source), ('sunrgbd', sun_source)):
        out = tmp_path_factory.mktemp('made') / name
        command = [sys.executable, *command_line(source, out)]
        environment = dict(os.environ, PYTHONPATH=str(ROOT))
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        results[name] = out, done.stdout
    return results


def read_images(out: Path, number: int) -> list[np.ndarray]:
    """Reads color in RGB, mask and depth of one image."""
    paths = [next((out / folder).glob(f'{number:06d}.*')) for folder in ('rgb', 'masks', 'depth')]
    rgb, mask, depth = (cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in paths)
    return [rgb[..., ::-1], mask, depth]


def assert_nyu_images(out: Path, top: int = 0, left: int = 0, height: int = 480, width: int = 640) -> None:
    y, x = np.mgrid[top : top + height, left : left + width]
    for i in range(4):
        rgb, mask, depth = read_images(out, i + 1)
        expected_rgb, raw, meters = nyu_pixel(i, x, y)
        assert np.array_equal(rgb, expected_rgb)
        assert mask.dtype == np.uint8
        assert (mask[raw == 0] == 255).all()
        assert np.array_equal(mask[raw > 0], RAW_TO_40[raw[raw > 0] - 1] - 1)
        assert depth.dtype == np.uint16
        assert np.abs(depth / 5000 - meters).max() <= 0.5 / 5000 + 1e-6


def list_lines(*numbers: int, kind: str = 'png') -> str:
    return ''.join(f'rgb/{n:06d}.{kind}\tmasks/{n:06d}.png\tdepth/{n:06d}.png\n' for n in numbers)


def test_nyudv2_is_converted_exactly(command_outputs, nyu_source):
    out, text = command_outputs['nyudv2']
    assert_nyu_images(out)
    assert ((out / 'train.txt').read_text(), (out / 'val.txt').read_text()) == (list_lines(1, 4), list_lines(2, 3))
    assert '4 images in' in text
    assert 'train.txt: 2 images, val.txt: 2 images\nNote: the complete data set has 795 and 654.' in text
    assert '40 of 40 classes: wall, floor,' in text
    assert '3.1% of the pixels are unlabeled' in text
    assert 'depth from 0.50 to 7.37 m at 5000 units per meter, 0.0% missing' in text
    assert '4/4' in text  # the progress bar


@pytest.mark.parametrize(('crop', 'box'), [('border', (6, 7, 468, 625)), ('valid', (44, 40, 427, 561))])
def test_crops_keep_image_label_and_depth_aligned(nyu_source, tmp_path, run, crop, box):
    run(nyu_source, tmp_path / 'out', '--crop', crop)
    assert_nyu_images(tmp_path / 'out', *box)


def test_border_crop_matches_align_to_label():
    box = runpy.run_path(str(TOOLS / 'nyudv2.py'))['CROPS']['border']
    size = [part.stop - part.start for part in box]
    assert [part.start for part in box] == [(480 - size[0]) // 2, (640 - size[1]) // 2]


@pytest.mark.parametrize('depth', ['depth_bfx', 'depth'])
def test_sunrgbd_is_converted_exactly(command_outputs, sun_source, tmp_path, run, depth):
    out, text = command_outputs['sunrgbd']
    if depth == 'depth':
        out = tmp_path / 'out'
        run(sun_source, out, '--depth', depth)
    assert ((out / 'train.txt').read_text(), (out / 'val.txt').read_text()) == (
        list_lines(2, 3, kind='jpg'), list_lines(1, kind='jpg'),
    )  # fmt: skip
    assert 'train.txt: 2 images, val.txt: 1 images\nNote: the complete data set has 5285 and 5050.' in text
    assert '37 of 37 classes: wall, floor,' in text
    cameras = hha.read_cameras(out / 'cameras.txt')
    assert cameras == {f'00000{i + 1}': [500.5 + i, 510, 20, 30] for i in range(3)}
    with h5py.File(sun_source / 'SUNRGBDtoolbox/Metadata/SUNRGBD2Dseg.mat') as file:
        for i in range(3):
            image = next((sun_source / 'SUNRGBD').rglob(f'image/000{i}.jpg'))
            assert (out / f'rgb/{i + 1:06d}.jpg').read_bytes() == image.read_bytes()
            _, mask, depth_units = read_images(out, i + 1)
            official = np.array(file[f'#refs#/{i}']).T.astype(int)
            assert np.array_equal(mask, np.where(official == 0, 255, official - 1))
            raw = cv2.imread(str(image.parents[1] / depth / f'000{i}.png'), cv2.IMREAD_UNCHANGED).astype(int)
            rotated = raw // 8 + raw % 8 * 8192  # millimeters
            assert np.array_equal(depth_units, np.minimum(rotated, 8000) * 5)


@pytest.mark.parametrize('name', ['nyudv2', 'sunrgbd'])
def test_configs_load_the_converted_data_sets(command_outputs, config, monkeypatch, name):
    out, _ = command_outputs[name]
    monkeypatch.setenv(f'CEN_MM_{name.upper()}', str(out))
    cfg = config(f'cen_refinenet_r101_{name}.py')
    train, val, dataset = (DATASETS.build(cfg[f'{part}_dataloader'].dataset) for part in ('train', 'val', 'test'))
    assert [val.get_data_info(i)['img_path'] for i in range(len(val))] == [
        str(out / line.split('\t')[0]) for line in (out / 'val.txt').read_text().splitlines()
    ]
    sample = dataset[0]
    number = int(Path(dataset.get_data_info(0)['img_path']).stem)
    rgb, mask, depth = read_images(out, number)
    inputs = {name: image.numpy() for name, image in sample['inputs'].items()}
    assert np.array_equal(inputs['rgb'][::-1].transpose(1, 2, 0), rgb)
    assert np.array_equal(inputs['depth'][0], depth.astype(np.float32) / np.float32(5000))
    assert np.array_equal(sample['data_samples'].gt_sem_seg.data[0].numpy(), mask)
    assert len(dataset.metainfo['classes']) == cfg.model.decode_head.num_classes == len(dataset.metainfo['palette'])
    assert len(train) == 2
    assert {image.shape for image in train[0]['inputs'].values()} == {(3, 500, 500)}


@pytest.mark.parametrize(('source', 'total'), [('nyu_source', 4), ('sun_source', 3)])
def test_interrupted_run_resumes(request, tmp_path, run, monkeypatch, source, total):
    source, out, replace = request.getfixturevalue(source), tmp_path / 'out', os.replace
    calls = iter(range(6))

    def interrupted_replace(src, dst):
        if next(calls) == 5:  # after the settings, three files of the first image and one of the second
            raise KeyboardInterrupt
        replace(src, dst)

    monkeypatch.setattr(os, 'replace', interrupted_replace)
    with pytest.raises(KeyboardInterrupt):
        run(source, out)
    monkeypatch.setattr(os, 'replace', replace)
    assert len(list(out.rglob('*.unfinished'))) == 1
    assert not list(out.glob('*.txt'))

    first = {path: path.stat().st_mtime_ns for path in out.rglob('000001.*')}
    assert len(first) == 3
    assert f'{total} images in {out}, 1 of them existed before' in run(source, out)
    content = {path: path.read_bytes() for path in out.rglob('*.*')}
    assert len(content) == 3 * total + 3 + (out / 'cameras.txt').exists()  # no unfinished file is left
    (out / 'masks/000002.png').unlink()
    assert f'{total - 1} of them existed before' in run(source, out)
    assert {path: path.read_bytes() for path in content} == content
    assert {path: path.stat().st_mtime_ns for path in first} == first


def change_nyu(path: Path, **fields: np.ndarray) -> None:
    """Replaces fields of the file; removes those whose value is None."""
    with h5py.File(path / 'nyu_depth_v2_labeled.mat', 'r+') as file:
        for name, value in fields.items():
            del file[name]
            if value is not None:
                file[name] = value


def change_sun(path: Path, label: int) -> None:
    """Sets one label of the second image."""
    with h5py.File(next(path.rglob('SUNRGBD2Dseg.mat')), 'r+') as file:
        file['#refs#/1'][3, 4] = label


def small_nyu(depth: float = 1.0, label: int = 1) -> dict[str, np.ndarray]:
    """Returns the fields of four 8x6 images with constant depth and label."""
    return dict(
        images=np.zeros((4, 3, 8, 6), np.uint8), labels=np.full((4, 8, 6), label), depths=np.full((4, 8, 6), depth)
    )


def write(path: Path, text: str = 'nothing') -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


INVALID_NYU_INPUTS = {
    'no .mat': (lambda s, o: (s / 'nyu_depth_v2_labeled.mat').unlink(), [], 'labeled.mat does not exist: give'),
    'no HDF5': (lambda s, o: write(s / 'nyu_depth_v2_labeled.mat'), [], 'labeled.mat cannot be read .*: download'),
    'no field': (lambda s, o: change_nyu(s, depths=None), [], 'labeled.mat has no field depths: give'),
    'other shapes': (lambda s, o: change_nyu(s, labels=np.zeros((4, 480, 640))), [], 'contains images .*: give nyu'),
    'other size': (lambda s, o: change_nyu(s, **small_nyu()), ['--crop', 'valid'], '8x6, but --crop valid .*remove'),
    'far depth': (lambda s, o: change_nyu(s, **small_nyu(depth=1500)), [], '1500 m in image 1, but .*13.107 m: give'),
    'NaN depth': (lambda s, o: change_nyu(s, **small_nyu(depth=np.nan)), [], 'nan to nan m in image 1'),
    'unknown label': (lambda s, o: change_nyu(s, **small_nyu(label=895)), [], 'contains label 895 in image 1, .*give'),
    'no split': (lambda s, o: (s / 'splits.mat').unlink(), [], 'splits.mat does not exist: give the folder'),
    'other split': (
        lambda s, o: savemat(s / 'splits.mat', dict(trainNdxs=[1, 2], testNdxs=[2, 3])), [],
        'splits.mat lists 2 training and 2 test images, but .* images 1 to 4 .*: give',
    ),
    'no field of the split': (
        lambda s, o: savemat(s / 'splits.mat', dict(trainNdxs=[1])), [], 'splits.mat has no field testNdxs: give',
    ),
    'no mapping': (lambda s, o: write(s / 'classMapping40.mat'), [], 'classMapping40.mat cannot be read .*: download'),
    '13 classes': (
        lambda s, o: savemat(s / 'classMapping40.mat', dict(mapClass=np.arange(13) + 1)), [],
        'classMapping40.mat does not map to the 40 classes .*: give',
    ),
    'a folder in use': (lambda s, o: write(o / 'rgb/000001.png'), [], 'out contains files .*: give another folder'),
    'two crops in a folder': (
        lambda s, o: write(o / 'prepared.json', '{"data_set": "NYUDv2", "crop": "border"}'), [],
        'out was created with .*border.*: give the same options, or another folder',
    ),
}  # fmt: skip


INVALID_SUN_INPUTS = {
    'no image': (
        lambda s, o: next(s.rglob('image/0001.jpg')).unlink(), [], 'NYU0001/image/0001.jpg does not exist: give',
    ),
    'no depth': (
        lambda s, o: next(s.rglob('depth_bfx/0001.png')).unlink(), [], 'depth_bfx/0001.png does not exist: give',
    ),
    '8-bit depth': (
        lambda s, o: cv2.imwrite(str(next(s.rglob('depth_bfx/0001.png'))), np.zeros((48, 64), np.uint8)), [],
        'depth_bfx/0001.png is not a 16-bit PNG .*: unpack',
    ),
    'depth of another image': (
        lambda s, o: cv2.imwrite(str(next(s.rglob('depth_bfx/0001.png'))), np.zeros((48, 60), np.uint16)), [],
        r'depth/000002.png is uint16 \(48, 60\), but must be uint16 \(48, 64\) to match .*: check',
    ),
    'no labels': (lambda s, o: next(s.rglob('SUNRGBD2Dseg.mat')).unlink(), [], '2Dseg.mat does not exist: give'),
    'other labels': (lambda s, o: change_sun(s, 38), [], 'SUNRGBD2Dseg.mat contains label 38 for .*NYU0001.*: give'),
    'no split': (lambda s, o: next(s.rglob('allsplit.mat')).unlink(), [], 'allsplit.mat does not exist: give'),
    'other split': (
        lambda s, o: write_allsplit(s, ['kv1/NYUdata/NYU0001'], ['kv1/NYUdata/NYU0001', 'x/y']), [],
        'allsplit.mat lists 1 training and 2 test folders, but .* the 3 folders of SUNRGBDMeta.mat .*: give',
    ),
    'other struct': (
        lambda s, o: savemat(next(s.rglob('SUNRGBDMeta.mat')), dict(SUNRGBDMeta=[1])), [],
        'SUNRGBDMeta.mat has no field rgbpath in SUNRGBDMeta: give',
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ('source', 'case'),
    [*(('nyu_source', name) for name in INVALID_NYU_INPUTS), *(('sun_source', name) for name in INVALID_SUN_INPUTS)],
)
def test_invalid_inputs_end_in_clear_errors(request, tmp_path, run, source, case):
    corrupt, options, message = (INVALID_NYU_INPUTS if source == 'nyu_source' else INVALID_SUN_INPUTS)[case]
    invalid_source = tmp_path / 'source'
    shutil.copytree(request.getfixturevalue(source), invalid_source)
    corrupt(invalid_source, tmp_path / 'out')
    with pytest.raises(SystemExit, match=f'(?s)^(nyudv2|sunrgbd).py: .*{message}'):
        run(invalid_source, tmp_path / 'out', *options)
    assert not (tmp_path / 'out/train.txt').exists()


def test_invalid_existing_file_is_found(nyu_source, tmp_path, run):
    run(nyu_source, tmp_path)
    cv2.imwrite(str(tmp_path / 'masks/000002.png'), np.full((480, 640), 40, np.uint8))
    with pytest.raises(SystemExit, match='masks/000002.png contains label 40, but the classes are 0 to 39: remove it'):
        run(nyu_source, tmp_path)


@pytest.mark.skipif(not META.is_dir(), reason='no folder nyudv2-meta next to CEN_MM_NYUDV2')
def test_official_split_and_class_mapping():
    tool = runpy.run_path(str(TOOLS / 'nyudv2.py'))
    splits = tool['read_splits'](META / 'splits.mat', 1449)
    assert [list(splits.values()).count(split) for split in ('train', 'val')] == [795, 654]
    for split in ('train', 'val'):
        names = [line.split('\t')[0] for line in (NYUDV2 / f'{split}.txt').read_text().splitlines()]
        assert {splits[int(Path(name).stem)] for name in names} == {split}
    table = tool['read_mapping'](META / 'classMapping40.mat')
    raw = {str(name[0]): i for i, name in enumerate(loadmat(META / 'classMapping40.mat')['allClassName'][0], start=1)}
    assert table.shape == (895,)
    assert table[0] == 255
    assert [table[raw[name]] for name in ('wall', 'floor', 'bed', 'chair', 'bag')] == [0, 1, 3, 4, 36]
