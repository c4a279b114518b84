"""Every bad file ends in one sentence that names it: a list of known ways, and random damage (hypothesis)."""

import faulthandler
import io
import os
import zipfile
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS
from PIL import Image
from torch.utils.data import DataLoader

from cen_mm.datasets import LoadLabels, base
from cen_mm.datasets.files import BadFileError
from cen_mm.datasets.modality import Modality
from cen_mm.engine.preflight.data import read_samples

RNG = np.random.default_rng(0)
SIZE = (24, 32)
RGB = RNG.integers(0, 256, (*SIZE, 3), np.uint8)
DEPTH = RNG.integers(2000, 30000, SIZE).astype(np.uint16)
EVENTS = RNG.standard_normal((*SIZE, 5)).astype(np.float32)
LABEL = RNG.integers(0, 4, (6, 8), np.uint8).repeat(4, 0).repeat(4, 1)
MODALITIES = dict(
    rgb='rgb/{}.png',
    depth=dict(path='depth/{}.png', dtype='uint16', scale=1000, invalid=0),
    events=dict(path='events/{}.npy', dtype='float32'),
    grid=dict(path='grid/{}.npz', dtype='float32'),
)


def encode(image: np.ndarray, suffix: str = '.png') -> bytes:
    stream = io.BytesIO()
    if suffix == '.npy':
        np.save(stream, image)
    elif suffix == '.npz':
        np.savez_compressed(stream, image)
    else:
        return cv2.imencode(suffix, image)[1].tobytes()
    return stream.getvalue()


def png_header(width: int, height: int, bits: int = 8) -> bytes:
    """A PNG file with the header of an image of any size, and no pixels."""
    header = b'IHDR' + width.to_bytes(4, 'big') + height.to_bytes(4, 'big') + bytes([bits, 0, 0, 0, 0])
    end = b'\0\0\0\0IEND' + zlib.crc32(b'IEND').to_bytes(4, 'big')
    return b'\x89PNG\r\n\x1a\n\0\0\0\x0d' + header + zlib.crc32(header).to_bytes(4, 'big') + end


def npy_header(shape: tuple) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, dict(descr='<f4', fortran_order=False, shape=shape))
    return stream.getvalue()


def zipped(content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('arr_0.npy', content)
    return stream.getvalue()


@pytest.fixture
def root(tmp_path):
    """Three samples with RGB, 16-bit depth, an array, a compressed array and labels: two training images."""
    faulthandler.dump_traceback_later(100, exit=True)  # a loader that waits for a pipe would wait forever
    files = dict(rgb=encode(RGB), depth=encode(DEPTH), events=encode(EVENTS, '.npy'), labels=encode(LABEL))
    files['grid'] = encode(EVENTS, '.npz')
    for folder, content in files.items():
        (tmp_path / 'data' / folder).mkdir(parents=True)
        for i in range(3):
            suffix = dict(events='.npy', grid='.npz').get(folder, '.png')
            (tmp_path / f'data/{folder}/{i}{suffix}').write_bytes(content)
    (tmp_path / 'data/train.txt').write_text('0\n1\n')
    (tmp_path / 'data/val.txt').write_text('2\n')
    yield tmp_path / 'data'
    faulthandler.cancel_dump_traceback_later()


def build(root: Path, **options):
    dataset = dict(
        type='cen_mm.MultimodalDataset',
        data_root=str(root),
        ann_file='train.txt',
        modalities=MODALITIES,
        label='labels/{}.png',
        metainfo=dict(classes=['a', 'b', 'c', 'd']),
        pipeline=[dict(type=f'cen_mm.{name}') for name in ('LoadModalities', 'LoadLabels', 'PackModalities')],
    )
    return DATASETS.build({**dataset, **options})


def write(file: str, content: bytes):
    return file, lambda path: path.write_bytes(content)


def cut(file: str, image: np.ndarray, share: float, suffix: str = '.png'):
    content = encode(image, suffix)
    return write(file, content[: int(len(content) * share)])


def replace(file: str, make):
    def make_instead(path: Path) -> None:
        path.unlink()
        make(path)

    return file, make_instead


def flip(file: str, image: np.ndarray):
    content = bytearray(encode(image))
    content[len(content) // 2] ^= 0x10
    return write(file, bytes(content))


def pil(image: np.ndarray, mode: str, format: str = 'PNG') -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).convert(mode).save(stream, format)
    return stream.getvalue()


def link_to(target: str):
    return lambda path: path.symlink_to(target)


DECODE, NO_FILE = r'{} cannot be decoded \(.+\): replace the file', r'{}.* is a folder, a pipe or a device: replace it'
MISSING, OUTSIDE = r'{}, required by .*train.txt, line 1, does not exist', r'{}, required by .* is outside data_root'
LARGE, TEXT = (
    '{} has .*replace the file, or increase max_pixels',
    r'{} is not plain UTF-8 text: save the list as UTF-8',
)
BAD_FILES = {
    'RGB: empty': (*write('rgb/0.png', b''), DECODE),
    'RGB: text': (*write('rgb/0.png', b'no image'), DECODE),
    'RGB: PNG cut off': (*cut('rgb/0.png', RGB, 0.5), DECODE),
    'RGB: PNG without its last bytes': (*cut('rgb/0.png', RGB, 0.999), DECODE),
    'RGB: JPEG cut off': (*cut('rgb/0.png', RGB, 0.7, '.jpg'), DECODE),
    'RGB: TIFF cut off': (*cut('rgb/0.png', RGB, 0.7, '.tiff'), DECODE),
    'RGB: PNG with a wrong bit': (*flip('rgb/0.png', RGB), DECODE),
    'RGB: alpha channel': (*write('rgb/0.png', encode(np.dstack([RGB, RGB[..., 0]]))), '{} has 4 channels, but rgb h'),
    'RGB: 16 bits': (*write('rgb/0.png', encode(RGB.astype(np.uint16))), "{} is uint16, but rgb is uint8: set dtype"),
    'RGB: script': (*write('rgb/0.png', b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n'), DECODE),
    'RGB: 30 gigapixels': (*write('rgb/0.png', png_header(300000, 100000)), DECODE),
    'RGB: missing': ('rgb/0.png', Path.unlink, MISSING),
    'RGB: folder': (*replace('rgb/0.png', Path.mkdir), NO_FILE),
    'RGB: broken link': (*replace('rgb/0.png', link_to('none.png')), MISSING),
    'RGB: link to itself': (*replace('rgb/0.png', link_to('0.png')), MISSING),
    'RGB: link to a device': (*replace('rgb/0.png', link_to('/dev/zero')), OUTSIDE),
    'RGB: link out of the data': (*replace('rgb/0.png', link_to('../../secret.png')), OUTSIDE),
    'depth: cut off': (*cut('depth/0.png', DEPTH, 0.9), DECODE),
    'depth: wrong bit': (*flip('depth/0.png', DEPTH), DECODE),
    'depth: 8 bits': (*write('depth/0.png', encode(LABEL)), '{} is uint8, but depth is uint16'),
    'depth: other size': (*write('depth/0.png', encode(DEPTH[1:])), '{} is 32x23, but .*rgb/0.png is 32x24: align'),
    'depth: pipe': (*replace('depth/0.png', os.mkfifo), NO_FILE),
    'array: cut off': (*cut('events/0.npy', EVENTS, 0.5, '.npy'), DECODE),
    'array: empty': (*write('events/0.npy', b''), DECODE),
    'array: pickle': (*write('events/0.npy', encode(np.array([print]), '.npy')), DECODE),
    'array: no pixels': (*write('events/0.npy', encode(EVENTS[:0], '.npy')), DECODE),
    'array: one dimension': (*write('events/0.npy', encode(EVENTS[0, 0], '.npy')), DECODE),
    'array: 4 TB in the header': (*write('events/0.npy', npy_header((10**6, 10**6))), LARGE),
    'array: 9 GB of zeros': ('events/0.npy', lambda path: os.truncate(path, 9 * 10**9), LARGE),
    'archive: no archive': (*write('grid/0.npz', encode(EVENTS, '.npy')), DECODE),
    'archive: cut off': (*cut('grid/0.npz', EVENTS, 0.5, '.npz'), DECODE),
    'archive: no array': (*write('grid/0.npz', b'PK\5\6' + bytes(18)), DECODE),
    'archive: 4 TB in the header': (*write('grid/0.npz', zipped(npy_header((10**6, 10**6)))), LARGE),
    'archive: pickle': (*write('grid/0.npz', zipped(encode(np.array([print]), '.npy'))), DECODE),
    'label: empty': (*write('labels/0.png', b''), DECODE),
    'label: text': (*write('labels/0.png', b'no image'), DECODE),
    'label: cut off': (*cut('labels/0.png', LABEL, 0.6), DECODE),
    'label: without its last bytes': (*write('labels/0.png', encode(LABEL)[:-14]), DECODE),
    'label: wrong bit': (*flip('labels/0.png', LABEL), DECODE),
    'label: script': (*write('labels/0.png', b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n'), DECODE),
    'label: 30 gigapixels': (*write('labels/0.png', png_header(300000, 100000)), DECODE),
    'label: 80 megapixels': (*write('labels/0.png', png_header(10000, 8000)), LARGE),
    'label: JPEG': (*write('labels/0.png', encode(LABEL, '.jpg')), '{} is a JPEG file, which changes classes: save'),
    'label: color': (*write('labels/0.png', encode(RGB)), '{} is uint8 .*: save labels as 8-bit PNG'),
    'label: 16 bits': (*write('labels/0.png', encode(DEPTH)), '{} is uint16 .*: save labels as 8-bit PNG'),
    'label: 1 bit': (*write('labels/0.png', pil(LABEL, '1')), '{} is bool .*: save labels as 8-bit PNG'),
    'label: class 4': (*write('labels/0.png', encode(LABEL + 1)), '{} contains label 4, but the classes are 0 to 3'),
    'label: other size': (*write('labels/0.png', encode(LABEL[1:])), '{} is 32x23, but its image .* is 32x24: save'),
    'label: pipe': (*replace('labels/0.png', os.mkfifo), NO_FILE),
    'list: byte order mark': (*write('train.txt', b'\xef\xbb\xbf0\n'), TEXT),
    'list: UTF-16': (*write('train.txt', '0\n'.encode('utf-16')), TEXT),
    'list: UTF-16 without mark': (*write('train.txt', '0\n'.encode('utf-16-le')), TEXT),
    'list: Latin-1': (*write('train.txt', b'caf\xe9\n'), TEXT),
    'list: pipe': (*replace('train.txt', os.mkfifo), NO_FILE),
    'list: folder': (*replace('train.txt', Path.mkdir), NO_FILE),
    'list: ../': (*write('train.txt', b'../../secret\n'), 'secret.png, required by .*line 1, is outside data_root'),
}  # fmt: skip


@pytest.mark.parametrize('name', BAD_FILES)
def test_a_bad_file_ends_in_one_sentence(root, name):
    file, damage, message = BAD_FILES[name]
    (root.parent / 'secret.png').write_bytes(encode(RGB))
    damage(root / file)
    with pytest.raises((BadFileError, ValueError, FileNotFoundError), match=message.replace('{}', file)) as raised:
        build(root)[0]
    assert '\n' not in str(raised.value)


@pytest.mark.parametrize('name', ['RGB: missing', 'RGB: folder', 'RGB: link to itself', 'depth: pipe', 'label: pipe'])
def test_a_file_that_becomes_bad_after_the_start_ends_in_one_sentence(root, name):
    dataset = build(root)
    file, damage, _ = BAD_FILES[name]
    damage(root / file)
    with pytest.raises(BadFileError, match=f'^{root / file} (cannot be read|is a folder, a pipe)') as raised:
        dataset[0]
    assert '\n' not in str(raised.value)


def test_links_and_lists_may_leave_the_data_root_if_the_config_allows_it(root):
    (root.parent / 'more').mkdir()
    (root / 'rgb/0.png').rename(root.parent / 'more/rgb.png')
    (root / 'rgb/0.png').symlink_to(root.parent / 'more/rgb.png')
    only_rgb = dict(modalities=dict(rgb='rgb/{}.png'), label=None)
    with pytest.raises(
        ValueError, match='rgb/0.png, required by .* is outside data_root .*allow_outside_data_root=True'
    ):
        build(root, **only_rgb)
    assert len(build(root, **only_rgb, allow_outside_data_root=True)) == 2
    linked = root.parent / 'linked'
    linked.symlink_to(root)  # the data root itself may be a link
    (root / 'train.txt').write_text('1\n')
    assert len(build(linked, **only_rgb)) == 1


OTHER_DATA_SETS = {  # settings, a line of its list, the name in the line, and one outside the data root
    'nyudv2': (
        dict(
            type='cen_mm.NYUDepthV2Dataset', modalities=dict(rgb={}, depth=dict(dtype='uint16')),
            pipeline=[dict(type='cen_mm.LoadModalities'), dict(type='cen_mm.LoadLabels')],
        ),
        'NAME\tlabels/1.png\tdepth/1.png\n', 'rgb/N.png', '/etc/hostname',
    ),
    'taskonomy': (
        dict(
            type='cen_mm.TaskonomyDataset', inputs=['rgb'], target='normal',
            pipeline=[dict(type='cen_mm.LoadTaskonomyImages')],
        ),
        'NAME\n', '{domain}/N.png', '/etc/{domain}',
    ),
    'paired': (
        dict(
            type='cen_mm.PairedImageDataset', inputs=dict(a='rgb/{}.png'), target=dict(b='labels/{}.png'),
            pipeline=[dict(type='cen_mm.LoadPairedImages')],
        ),
        'NAME\n', 'N', '../../secret',
    ),
}  # fmt: skip


@pytest.mark.parametrize('task', OTHER_DATA_SETS)
def test_other_data_sets_refuse_the_same(root, task):
    """A line with another path, a pipe and a truncated file; the last one is skipped on request."""
    settings, line, good, outside = OTHER_DATA_SETS[task]
    (root / 'normal').symlink_to('rgb')
    file = 'rgb/0.png'

    def load(*names, index=0, **more):
        (root / 'list.txt').write_text(''.join(line.replace('NAME', name) for name in names))
        return DATASETS.build(dict(settings, data_root=str(root), ann_file='list.txt', **more))[index]

    assert load(good.replace('N', '1'))
    with pytest.raises(ValueError, match='list.txt, line 2.*, is outside data_root'):
        load(good.replace('N', '1'), outside)
    (root / file).write_bytes(encode(RGB)[:-100])
    with pytest.raises(BadFileError, match=f'{file} cannot be decoded'):
        load(good.replace('N', '0'))
    assert load(good.replace('N', '0'), good.replace('N', '1'), skip_bad_files=True)
    (root / file).unlink()
    os.mkfifo(root / file)
    with pytest.raises(ValueError, match=f'{file}, required by .* is a folder, a pipe or a device'):
        load(good.replace('N', '0'))


def test_larger_images_are_allowed_by_max_pixels(root):
    with pytest.raises(
        BadFileError, match='has 32 x 24 = 768 pixels or values, more than 767: .* increase max_pixels'
    ):
        build(root, modalities=dict(rgb=dict(path='rgb/{}.png', max_pixels=767)))[0]
    assert build(root, modalities=dict(rgb=dict(path='rgb/{}.png', max_pixels=768)))[0]['inputs']['rgb'].shape[1] == 24


@pytest.mark.parametrize('channels', [1, 3])
def test_tiff_of_types_that_pillow_lacks_is_read(root, channels):
    image = RNG.standard_normal((*SIZE, channels)).astype(np.float64)
    (root / 'rgb/0.png').write_bytes(encode(image, '.tiff'))
    read = Modality(dtype='float64').load(str(root / 'rgb/0.png'), 'rgb', bgr=True)
    np.testing.assert_array_equal(np.atleast_3d(read), image.astype(np.float32))
    with pytest.raises(BadFileError, match='has 32 x 24 = 768'):
        Modality(dtype='float64', max_pixels=767).load(str(root / 'rgb/0.png'), 'rgb')


def test_values_above_float32_are_invalid(root):
    image = EVENTS.astype(np.float64)
    image[0, 0, 0] = 1e300
    np.save(root / 'events/0.npy', image)
    read = Modality(dtype='float64', pad_val=-1).load(str(root / 'events/0.npy'), 'events')
    assert read[0, 0, 0] == -1
    np.testing.assert_array_equal(read[0, 0, 1:], EVENTS[0, 0, 1:])


def test_bad_files_are_skipped_and_counted_by_config(root, monkeypatch):
    """Two worker processes share one record: a bad file is logged once, however often it is drawn."""
    said = []
    monkeypatch.setattr(base, 'print_log', lambda message, **_: said.append(message))
    (root / 'train.txt').write_text('0\n1\n2\n')
    (root / 'rgb/0.png').write_bytes(b'no image')
    (root / 'labels/1.png').write_bytes(b'')
    dataset = build(root, skip_bad_files=True)
    loader = DataLoader(dataset, batch_size=3, num_workers=2, collate_fn=pseudo_collate)
    for _ in range(2):
        for batch in loader:
            assert {Path(sample.img_path).name for sample in batch['data_samples']} == {'2.png'}
    assert dataset.bad_samples.tolist() == [True, True, False]  # written by the workers
    assert dataset[0]['data_samples'].img_path.endswith('2.png')
    assert not said  # the workers have logged both
    dataset.bad_samples.zero_()
    assert all(dataset[index] for index in (0, 1, 0, 1))
    assert len(said) == 2
    assert 'rgb/0.png cannot be decoded' in ''.join(said)
    assert '2 of 3 samples are skipped so far' in said[1]
    assert [packed['data_samples'].img_path[-5:] for packed, _ in read_samples(dataset, '')] == ['2.png']
    for options in (dict(), dict(skip_bad_files=True, test_mode=True)):
        with pytest.raises(BadFileError, match='rgb/0.png cannot be decoded'):
            build(root, **options)[0]


WHOLE = {
    '.png': (encode(RGB), 'uint8'), '.jpg': (encode(RGB, '.jpg'), 'uint8'), '.webp': (encode(RGB, '.webp'), 'uint8'),
    '.tiff': (encode(RGB, '.tiff'), 'uint8'), '.bmp': (encode(RGB, '.bmp'), 'uint8'),
    '16.png': (encode(DEPTH), 'uint16'), '.npy': (encode(EVENTS, '.npy'), 'float32'),
    '.npz': (encode(EVENTS, '.npz'), 'float32'), 'label.png': (encode(LABEL), 'uint8'),
}  # fmt: skip
DAMAGE = st.one_of(
    st.tuples(st.just('cut'), st.floats(0, 1)),
    st.tuples(st.just('replace'), st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=4)), max_size=8)),
    st.tuples(st.just('random'), st.binary(max_size=300)),
)


def damaged(content: bytes, kind: str, value) -> bytes:
    if kind == 'random':
        return value
    if kind == 'cut':
        return content[: int(value * len(content))]
    for place, replaced in value:
        start = int(place * len(content))
        content = content[:start] + replaced + content[start + len(replaced) :]
    return content


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('damaged')


@settings(max_examples=int(os.environ.get('CEN_MM_EXAMPLES', 500)), deadline=None, derandomize=True, database=None)
@given(name=st.sampled_from(sorted(WHOLE)), damage=DAMAGE)
def test_random_damage_ends_in_one_sentence_or_in_a_valid_image(folder, name, damage):
    content, dtype = WHOLE[name]
    path = folder / name
    path.write_bytes(damaged(content, *damage))
    modality = Modality(dtype=dtype, max_pixels=10**5)
    message = ''
    try:
        if name == 'label.png':
            image = LoadLabels().read(dict(seg_map_path=str(path), label_settings=modality))
        else:
            image = modality.load(str(path), 'image')
    except BadFileError as error:
        message = str(error)
    if message:
        assert message.startswith(f'{path} ')
        assert '\n' not in message
        return
    assert image.dtype == (np.uint8 if dtype == 'uint8' else np.float32)
    assert image.ndim in ((2,) if name == 'label.png' else (2, 3))
    assert 0 < image.size <= 4 * 10**5
    assert image.flags.c_contiguous
    assert np.isfinite(image).all()
    if damage == ('cut', 1.0):
        assert image.shape[:2] == SIZE
