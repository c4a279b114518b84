"""check_dataset.py lists every fault by file, survives files that kill or stop their process, and sets its status."""

import io
import itertools
import os
import re
import signal
import time
from pathlib import Path

import cv2
import mmcv
import numpy as np
import pytest
from PIL import Image

CONFIG = Path(__file__).parents[2] / 'configs/cen_refinenet_r101_nyudv2.py'


def encode(image: np.ndarray, suffix: str = '.png') -> bytes:
    return cv2.imencode(suffix, image)[1].tobytes()


def rotated(image: np.ndarray) -> bytes:
    stream, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(image).save(stream, 'JPEG', exif=exif)
    return stream.getvalue()


def blurred(label: np.ndarray) -> bytes:
    small = cv2.resize(label[4:, 4:], (61, 45), interpolation=cv2.INTER_LINEAR)
    return encode(np.pad(small, ((13, 14), (17, 18)), constant_values=255))


def saturated(depth: np.ndarray) -> np.ndarray:
    return np.where(np.arange(96) < 30, np.uint16(65535), depth)


# For each kind the file that is damaged, its content computed from RGB, label and depth, and the sentence.
FAULTS = {
    'decoding': ('rgb', lambda rgb, label, depth: encode(rgb)[:-50], r'cannot be decoded \('),
    'type': ('depth', lambda rgb, label, depth: encode(label), 'is uint8, but depth is uint16'),
    'size': ('depth', lambda rgb, label, depth: encode(depth[1:]), 'is 96x71, but .* is 96x72'),
    'label': ('masks', lambda rgb, label, depth: encode(np.where(label < 40, 40, label)), 'contains label 40'),
    'unlabeled': ('masks', lambda rgb, label, depth: encode(label | 255), 'has no labeled pixel'),
    'interpolated labels': ('masks', lambda rgb, label, depth: blurred(label), 'has a value between .* at 2.% of the'),
    'constant': ('depth', lambda rgb, label, depth: encode(depth * 0 + 7), r'has the value \[7\] everywhere'),
    'empty': ('depth', lambda rgb, label, depth: encode(depth * 0), 'has no valid pixel'),
    'saturated': ('depth', lambda rgb, label, depth: encode(saturated(depth)), 'is 65535 in 31% of the pixels'),
    'EXIF orientation': ('rgb', lambda rgb, label, depth: rotated(rgb), 'has EXIF orientation 6, which is ignored'),
    'channels differ': ('rgb', lambda rgb, label, depth: encode(rgb[..., 0]), 'has 1 channel.* of rgb have 3'),
    'crash': ('depth', lambda rgb, label, depth: encode(depth) + b'crash', r'ended its process \(exit code -9\)'),
    'slow': ('depth', lambda rgb, label, depth: encode(depth) + b'slow', 'took more than 3 s'),
}  # fmt: skip


def crash_or_hang(content: bytes, *args, imfrombytes=mmcv.imfrombytes, **kwargs):
    """A decoder that cannot bear two files."""
    if content.endswith(b'crash'):
        os.kill(os.getpid(), signal.SIGKILL)
    if content.endswith(b'slow'):
        time.sleep(100)
    return imfrombytes(content, *args, **kwargs)


@pytest.fixture
def check(run_tool):
    """Returns a function that runs the command on a data set in NYUDv2's layout."""

    def run(root: Path, *options, fails: bool = False) -> str:
        roots = [f'{split}_dataloader.dataset.data_root={root}' for split in ('train', 'val', 'test')]
        tool = 'dataset_converters/check_dataset.py'
        return run_tool(tool, CONFIG, '--workers', 2, '--timeout', 3, '--cfg-options', *roots, *options, fails=fails)

    return run


def count(output: str) -> dict[str, int]:
    """Reads the table."""
    return {kind: int(number) for kind, number in re.findall(r'^\| ([\w ]+?) +\| +(\d+) ', output, re.M)}


def test_lists_every_fault_by_file(made_nyudv2, check, monkeypatch):
    root, lines = made_nyudv2, (made_nyudv2 / 'train.txt').read_text()
    images = [cv2.imread(str(root / folder / '000000.png'), -1) for folder in ('rgb', 'masks', 'depth')]
    for number, (folder, make, _) in enumerate(FAULTS.values(), start=100):
        for name, image in zip(('rgb', 'masks', 'depth'), images):
            content = make(*images) if name == folder else encode(image)
            (root / name / f'{number}.png').write_bytes(content)
        lines += f'rgb/{number}.png\tmasks/{number}.png\tdepth/{number}.png\n'
    # Three bad files in one sample, a missing file, a path out of the data root, a repeated line, a training image.
    (root / 'rgb/000003.png').unlink()
    os.mkfifo(root / 'rgb/000003.png')
    (root / 'depth/000003.png').write_bytes(b'')
    (root / 'masks/000003.png').write_bytes(b'no image')
    (root / 'depth/000002.png').unlink()
    first = lines.splitlines()[0]
    (root / 'train.txt').write_text(f'{lines}{first}\n../secret.png\tmasks/000000.png\tdepth/000000.png\n')
    with (root / 'val.txt').open('a') as val:
        val.write(first)
    monkeypatch.setattr(mmcv, 'imfrombytes', crash_or_hang)
    output = check(root, fails=True)
    listed = {f'{folder}/{number}.png': text for number, (folder, _, text) in enumerate(FAULTS.values(), start=100)}
    listed['rgb/000003.png'] = 'required by .*train.txt, line 4, is a folder, a pipe'
    listed['depth/000003.png'] = listed['masks/000003.png'] = 'cannot be decoded'
    listed['depth/000002.png'] = 'required by .*train.txt, line 3, does not exist'
    listed['../secret.png'] = 'required by .*train.txt, line 19, is outside data_root'
    listed['train.txt'] = 'line 18 repeats .*train.txt, line 1'
    for name in ('rgb', 'masks', 'depth'):
        listed[f'{name}/000000.png'] = 'required by .*val.txt, line 3, is also required by .*train.txt, line 1'
    for file, sentence in listed.items():
        assert re.search(f'^{root}/{file}[ ,]+{sentence}', output, re.M), (file, output)
    extra = {'no file': 1, 'missing': 1, 'outside data_root': 1, 'duplicate line': 1, 'also in training': 3}
    assert count(output) == {**dict.fromkeys(FAULTS, 1), **extra, 'decoding': 3}


def test_a_clean_data_set_and_a_doubtful_one_have_status_0(any_nyudv2, made_nyudv2, check):
    assert 'No fault was found' in check(any_nyudv2)
    rgb = cv2.imread(str(made_nyudv2 / 'rgb/000000.png'))
    (made_nyudv2 / 'rgb/000000.png').write_bytes(rotated(rgb))
    assert count(check(made_nyudv2)) == {'EXIF orientation': 1}


def test_validation_on_the_training_images_is_a_fault(made_nyudv2, check):
    lists = [f'{split}_dataloader.dataset.ann_file=train.txt' for split in ('val', 'test')]
    output = check(made_nyudv2, *lists, fails=True)
    assert 'val has the same files as train: give it a list of its own.' in output
    assert count(output) == {'also in training': 2}  # of validation and test


def test_a_list_that_cannot_be_read_is_a_fault(made_nyudv2, check):
    text = (made_nyudv2 / 'val.txt').read_text()
    (made_nyudv2 / 'val.txt').write_bytes(text.encode('utf-16'))
    (made_nyudv2 / 'train.txt').write_text(text.replace('\t', ' '))
    output = check(made_nyudv2, fails=True)
    assert 'val.txt is not plain UTF-8 text: save the list as UTF-8 without byte order mark' in output
    assert 'train.txt, line 1 has 1 columns instead of 3' in output
    assert count(output) == {'list': 3}  # of training, validation and test


PAIRED = """
default_scope = 'mmseg'
custom_imports = dict(imports=['cen_mm'])
train_dataloader = dict(dataset=dict(
    type='cen_mm.PairedImageDataset', data_root='ROOT', pipeline=[dict(type='cen_mm.LoadPairedImages')],
    inputs=dict(a='a/{}.png', b=dict(path='b/{}.npy', dtype='float32', range=(0, 1))),
    target=dict(c=dict(path='c/{}.npy', dtype='float32', range=(0, 1), invalid=0)), mask='mask/{}.png'))
test_dataloader = dict(dataset=dict(
    type='cen_mm.TaskonomyDataset', data_root='ROOT', pipeline=[dict(type='cen_mm.LoadTaskonomyImages')],
    inputs=['depth_zbuffer'], target='rgb'))
"""


def test_translation_data_sets(tmp_path, run_tool):
    rng = np.random.default_rng(0)
    for folder in ('a', 'b', 'c', 'mask', 'rgb', 'depth_zbuffer'):
        (tmp_path / folder).mkdir()
    for name in '01':
        for folder in ('a', 'mask', 'rgb'):
            cv2.imwrite(str(tmp_path / f'{folder}/{name}.png'), rng.integers(0, 256, (8, 8), np.uint8))
        for folder in ('b', 'c'):
            np.save(tmp_path / f'{folder}/{name}.npy', rng.random((8, 8), np.float32))
        cv2.imwrite(str(tmp_path / f'depth_zbuffer/{name}.png'), rng.integers(0, 9999, (8, 8)).astype(np.uint16))
    for name in ('b/0.npy', 'c/0.npy'):
        np.save(tmp_path / name, np.where(np.eye(8), np.nan, rng.random((8, 8))).astype(np.float32))
    cv2.imwrite(str(tmp_path / 'depth_zbuffer/1.png'), np.full((8, 8), 65535, np.uint16))
    (tmp_path / 'mask/1.png').write_bytes(b'')
    (tmp_path / 'config.py').write_text(PAIRED.replace('ROOT', str(tmp_path)))
    output = run_tool('dataset_converters/check_dataset.py', tmp_path / 'config.py', '--workers', 2, fails=True)
    assert count(output) == {'NaN': 1, 'NaN besides invalid': 1, 'empty': 1, 'decoding': 1}
    assert f'{tmp_path}/b/0.npy has 8 pixels with NaN or infinity, which count as invalid.' in output
    assert f'{tmp_path}/c/0.npy has 8 pixels with NaN or infinity besides invalid=0' in output
    assert f'{tmp_path}/depth_zbuffer/1.png has no valid pixel' in output
    assert f'{tmp_path}/mask/1.png cannot be decoded' in output


SPLITS = """
default_scope = 'mmseg'
custom_imports = dict(imports=['cen_mm'])
dataset = dict(
    type='cen_mm.MultimodalDataset', data_root='ROOT', pipeline=[dict(type='cen_mm.LoadModalities')],
    modalities=dict(rgb=dict(path='x/{}.png', channels=[0, 1, 2]), thermal=dict(path='x/{}.png', channels=[3])))
train_dataloader = dict(dataset=dict(filter_cfg=dict(path='train'), **dataset))
val_dataloader = dict(dataset=dict(filter_cfg=dict(path='val'), **dataset))
"""


def test_splits_of_one_folder_and_channels_of_one_file(tmp_path, run_tool):
    rng = np.random.default_rng(0)
    for split, name in itertools.product(('train', 'val'), '01'):
        (tmp_path / f'x/{split}').mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / f'x/{split}/{name}.png'), rng.integers(0, 256, (8, 8, 4), np.uint8))
    (tmp_path / 'config.py').write_text(SPLITS.replace('ROOT', str(tmp_path)))
    tool = ('dataset_converters/check_dataset.py', tmp_path / 'config.py', '--workers', 1)
    output = run_tool(*tool)
    assert 'train: 2 samples' in output
    assert 'val: 2 samples' in output
    assert 'No fault was found' in output
    image = rng.integers(0, 256, (8, 8, 4), np.uint8)
    image[..., 3] = 9
    cv2.imwrite(str(tmp_path / 'x/val/1.png'), image)
    output = run_tool(*tool, fails=True)
    assert f'{tmp_path}/x/val/1.png has the value [9] everywhere' in output
    assert count(output) == {'constant': 1}
