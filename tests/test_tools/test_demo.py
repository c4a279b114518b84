"""The command for your own images: the classes that test.py writes, and one sentence for each mistake."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs/cen_refinenet_r18_rooms.py'
SMALL = [
    '--cfg-options', 'model.backbone.base_channels=16', 'model.neck.in_channels=[16,32,64,128]',
    'model.neck.channels=16', 'model.neck.top_channels=16', 'model.decode_head.in_channels=16',
    'model.decode_head.num_classes=40', 'test_dataloader.dataset.metainfo=None',
]  # fmt: skip


@pytest.fixture
def folder(made_nyudv2, config, tmp_path, monkeypatch):
    """The folder of the data set, with a checkpoint of random weights."""
    cfg = config(CONFIG)
    cfg.model.backbone.base_channels, cfg.model.decode_head.num_classes = 16, 40
    cfg.model.neck.update(in_channels=[16, 32, 64, 128], channels=16, top_channels=16)
    cfg.model.decode_head.in_channels = 16
    torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict()), made_nyudv2 / 'model.pth')
    monkeypatch.chdir(made_nyudv2)
    return made_nyudv2


def test_writes_the_classes_that_test_py_writes(run_tool, folder):
    settings = ('num_workers=0', 'persistent_workers=False', f'dataset.data_root={folder}')
    loader = [f'test_dataloader.{setting}' for setting in settings]
    run_tool('test.py', CONFIG, 'model.pth', '--out', 'tested', '--work-dir', 'work', *SMALL, *loader)
    said = run_tool('demo.py', CONFIG, 'model.pth', '--rgb', 'rgb', '--depth', 'depth/{}.png', *SMALL)
    assert 'Pictures are in out/vis, raw results in out/pred.' in said
    for path in Path('tested').iterdir():
        want = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert (cv2.imread(f'out/pred/ensemble/{path.name}', cv2.IMREAD_UNCHANGED) == want).all()
    assert len(list(Path('tested').iterdir())) == 2
    assert len(list(Path('out/vis').iterdir())) == len(list(Path('out/pred/depth').iterdir())) == 6
    one = run_tool('demo.py', CONFIG, 'model.pth', '--input', 'depth=depth/000004.png', '--out-dir', 'one', *SMALL)
    assert 'Not all samples have rgb: they are predicted from the other modalities.' in one
    assert [path.relative_to('one').as_posix() for path in sorted(Path('one').rglob('*.png'))] == [
        'pred/depth/000004.png', 'pred/ensemble/000004.png', 'vis/000004.png',
    ]  # fmt: skip


MISTAKES = {
    'no config': (
        ['no.py', 'model.pth', '--rgb', 'rgb'],
        'demo.py: error: argument config: no.py does not exist: give the path of a config file, or ',
    ),
    'no checkpoint': ([CONFIG, 'no.pth', '--rgb', 'rgb'], 'The checkpoint no.pth does not exist: give the path of a '),
    'no checkpoint file': ([CONFIG, 'train.txt', '--rgb', 'rgb'], 'train.txt is not a checkpoint, or it is damaged '),
    'damaged checkpoint': ([CONFIG, 'half.pth', '--rgb', 'rgb'], 'half.pth is not a checkpoint, or it is damaged '),
    'no input': ([CONFIG, 'model.pth'], 'There is no image for the model: give images of rgb, depth.'),
    'no pair': ([CONFIG, 'model.pth', '--input', 'rgb'], '--input rgb is not NAME=PATH: write --input thermal=a.png.'),
    'unknown modality': (
        [CONFIG, 'model.pth', '--input', 'rgb=rgb', 'lidar=depth'],
        "The model has no modality 'lidar': give images of rgb, depth.",
    ),
    'missing file': (
        [CONFIG, 'model.pth', '--rgb', 'rgb/9.png'],
        'rgb/9.png, given for rgb, does not exist or is not a file: correct the path.',
    ),
    'other size': (
        [CONFIG, 'model.pth', '--rgb', 'rgb/000004.png', '--depth', 'small.png'],
        'small.png is 8x6, but rgb/000004.png is 96x72: align depth with rgb and save both in the same size, or set',
    ),
    'bit depth': (
        [CONFIG, 'model.pth', '--rgb', 'rgb', '--depth', 'rgb'],
        "rgb/000000.png is uint8, but depth is uint16: set dtype='uint8' for depth in the data set, and scale, mean",
    ),
    'no image': (
        [CONFIG, 'model.pth', '--rgb', 'train.txt'],
        'train.txt cannot be decoded (',
    ),
    'empty folder': (
        [CONFIG, 'model.pth', '--rgb', 'empty'],
        'The folder empty, given for rgb, contains no images: correct the path, or give a pattern such as ',
    ),
    'no batch': (
        [CONFIG, 'model.pth', '--rgb', 'rgb', '--batch-size', '0'],
        'batch_size is 0: give a number of at least 1.',
    ),
    'other names': (
        [CONFIG, 'model.pth', '--rgb', 'rgb', '--depth', 'depth/0{}.png'],
        'The folders have no common file name (rgb: 000000; depth: 00000): {} in the paths must stand for the part',
    ),
}


def test_each_mistake_is_one_sentence(run_tool, folder):
    Path('empty').mkdir()
    Path('half.pth').write_bytes(Path('model.pth').read_bytes()[:10000])
    cv2.imwrite('small.png', np.ones((6, 8), np.uint16))
    for name, (arguments, message) in MISTAKES.items():
        said = run_tool('demo.py', *arguments, *SMALL, fails=True)
        last = said.strip().splitlines()[-1]
        assert last.startswith(message), f'{name}: {said[-500:]}'
        assert 'Traceback' not in said, name
    assert not Path('out').exists()
    other = [option.replace('channels=16', 'channels=8') for option in SMALL]
    said = run_tool('demo.py', CONFIG, 'model.pth', '--rgb', 'rgb', *other, fails=True)
    assert (
        'of another shape (backbone.layer1.0.conv1.weight, ..). Use a checkpoint that belongs to the config.' in said
    )
    assert 'Traceback' not in said
