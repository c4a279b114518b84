"""Tests of the tools. Each tool runs at least once in a separate process, as a user runs it."""

import argparse
import ast
import csv
import importlib.util
import json
import os
import platform
import re
import runpy
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from unittest import mock

import command_line
import cv2
import mmseg
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from cen_mm.engine.exchange_hook import HISTORY

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs/cen_refinenet_r18_nyudv2.py'
MMSEG_TOOLS = Path(mmseg.__file__).with_name('.mim') / 'tools'
SMALL = [
    'model.backbone.init_cfg=None', 'model.backbone.base_channels=16', 'model.neck.in_channels=[16,32,64,128]',
    'model.neck.channels=8', 'model.neck.top_channels=8', 'model.decode_head.in_channels=8',
    *(f'{loader}_dataloader.{key}' for loader in ('train', 'val', 'test') for key in
      ('num_workers=0', 'persistent_workers=False')),
    'train_dataloader.batch_size=2', 'train_dataloader.dataset.indices=4', 'val_dataloader.dataset.indices=2',
    'test_dataloader.dataset.indices=2',
]  # fmt: skip


@pytest.fixture
def run(run_tool, monkeypatch):
    """Returns a function that runs a tool on a data set and returns its output."""

    def run_on_data(data: Path, *command, **options) -> str:
        monkeypatch.setenv('CEN_MM_NYUDV2', str(data))
        return run_tool(*command, **options)

    return run_on_data


def read_last_scores(work_dir: Path) -> dict:
    scores = json.loads(sorted(work_dir.glob('*/2*.json'))[-1].read_text())
    return {key: value for key, value in scores.items() if 'time' not in key}


def test_train_resume_test_and_report(run, any_nyudv2, tmp_path):
    work_dir = tmp_path / 'work'
    train = ('train.py', CONFIG, '--amp', '--work-dir', work_dir)
    said = run(any_nyudv2, *train, '--cfg-options', *SMALL, 'train_cfg.max_epochs=1', own_process=True)
    assert len(said.splitlines()) < 40  # half of them are the check before training
    assert said.splitlines()[-1] == f'next: python {ROOT}/tools/test.py {CONFIG} {work_dir}/best_mIoU_epoch_1.pth'
    first = torch.load(work_dir / 'epoch_1.pth')
    log = run(
        any_nyudv2, *train, '--resume', '--cfg-options', *SMALL, 'train_cfg.max_epochs=2', 'train_cfg.val_interval=1'
    )
    assert f'resumed at epoch 1, iteration {first["meta"]["iter"]}' in log
    # The second run was in this process, and loading with onedl-mmengine removes the classes that compat allows.
    second = torch.load(work_dir / 'epoch_2.pth', weights_only=False)
    assert second['meta']['iter'] == 4
    assert second['message_hub']['runtime_info'][HISTORY]['steps'] == [2, 4]
    steps = [state['step'] for state in second['optimizer']['state'].values()]
    assert set(map(int, steps)) == {4}
    assert (work_dir / 'exchange.png').exists()

    shown, out = tmp_path / 'shown', tmp_path / 'out'
    test = ('test.py', CONFIG, work_dir / 'epoch_2.pth', '--work-dir', work_dir, '--cfg-options', *SMALL)
    log = run(any_nyudv2, *test, '--show-dir', shown, '--out', out, own_process=True)
    assert '| ensemble |' in log
    scores = read_last_scores(work_dir)
    assert {'mIoU', 'rgb/mIoU', 'depth/mAcc', 'aAcc'} <= set(scores)
    images = list(shown.rglob('*.png'))
    height, width, _ = cv2.imread(str(images[0])).shape
    assert width > height  # three columns, two rows
    names = [line.split()[1].split('/')[-1] for line in (any_nyudv2 / 'val.txt').read_text().splitlines()[:2]]
    assert sorted(path.name for path in images) == sorted(names)
    for name in names:
        label = cv2.imread(str(any_nyudv2 / 'masks' / name), cv2.IMREAD_UNCHANGED)
        prediction = cv2.imread(str(out / name), cv2.IMREAD_UNCHANGED)
        assert prediction.shape == label.shape
        assert prediction.max() < 40

    check_report(run(any_nyudv2, 'analysis_tools/report.py', work_dir, own_process=True), work_dir)
    assert 'mIoU' in run(any_nyudv2, *test, '--tta')
    check_exchange_map(run, any_nyudv2, work_dir / 'epoch_2.pth', tmp_path)

    written = work_dir / CONFIG.name
    before = written.read_text()
    run(any_nyudv2, *train[:2], '--check', *train[3:], '--cfg-options', *SMALL, 'model.backbone.threshold=0.05')
    assert written.read_text() == before  # of the trained network
    run(any_nyudv2, 'test.py', written, work_dir / 'epoch_2.pth', '--work-dir', tmp_path / 'again')
    assert read_last_scores(tmp_path / 'again') == scores


CHILD = """
_base_ = {config!r}
data_preprocessor = dict(modalities=dict(depth=dict(mean=[9] * 3)))
train_pipeline = []
model = dict(data_preprocessor=dict(modalities=dict(depth=dict(mean=[2.5] * 3))))
custom_hooks = [dict(type='EarlyStoppingHook', monitor='mIoU')]
default_hooks = dict(early_stopping=dict(type='EarlyStoppingHook', monitor='aAcc'), exchange=None)
tta_pipeline = _base_.tta_pipeline
tta_pipeline[-1].transforms = [[dict(type='cen_mm.RandomFlip', prob=0.0)], [dict(type='cen_mm.PackModalities')]]
"""


def test_a_child_config(run, made_nyudv2, tmp_path):
    """What has no effect is named; tests, also augmented ones, use the model's preprocessor and no early stopping."""
    config, work_dir = tmp_path / 'child.py', tmp_path / 'work'
    config.write_text(CHILD.format(config=str(CONFIG)))
    options = ('--work-dir', work_dir, '--cfg-options', *SMALL, 'train_cfg.max_epochs=1')
    said = run(made_nyudv2, 'train.py', config, *options)
    for key in ('data_preprocessor', 'train_pipeline'):
        assert f'WARNING - {key} has no effect, because it is only a variable of the base config: set ' in said
    assert 'test_pipeline has no effect' not in said
    scores = []
    for more in ([], ['--tta']):
        run(made_nyudv2, 'test.py', config, work_dir / 'epoch_1.pth', *more, *options)
        scores.append(read_last_scores(work_dir))
    assert scores[0] == scores[1]
    assert len(set(scores[0].values())) > 6
    config.write_text(config.read_text().replace('exchange=None', 'exchange=None, visualization=None'))
    test = ('test.py', config, work_dir / 'epoch_1.pth', '--work-dir', work_dir)
    run(made_nyudv2, *test, '--out', tmp_path / 'out', '--cfg-options', *SMALL)
    assert len(list((tmp_path / 'out').iterdir())) == 2
    said = run(made_nyudv2, *test, '--show-dir', tmp_path / 'out', '--cfg-options', *SMALL, fails=True)
    assert said.strip().endswith('--show and --show-dir need default_hooks.visualization: remove visualization=None.')
    fewer = 'test_dataloader.dataset.metainfo.classes=[wall,floor]'
    said = run(made_nyudv2, *test, '--cfg-options', *SMALL, fewer, fails=True)
    assert 'model.decode_head.num_classes is 40, but the data set has 2 classes (metainfo.classes): use the' in said
    state = torch.load(work_dir / 'epoch_1.pth', weights_only=False)
    assert state['meta']['dataset_meta']['classes'][:2] == ('wall', 'floor')
    state['meta']['dataset_meta']['classes'] = ('floor', 'wall')
    torch.save(state, tmp_path / 'other.pth')
    said = run(made_nyudv2, 'test.py', config, tmp_path / 'other.pth', *options)
    assert 'Class 0 is floor in ' in said
    assert ' but wall in the data set: give metainfo.classes the order of the training' in said
    assert 'Class 0' not in run(made_nyudv2, 'test.py', config, work_dir / 'epoch_1.pth', *options)


def check_report(log: str, work_dir: Path):
    """The page has the scores that the test printed, the pictures that it drew, and both commands."""
    assert f'mIoU of the ensemble: {read_last_scores(work_dir)["mIoU"]:#.4g} (test)' in log
    page = (work_dir / 'report.html').read_text(encoding='utf-8')
    for value in read_last_scores(work_dir).values():
        assert f'<td>{value:#.4g}</td>' in page
    test_log = sorted(work_dir.glob('*/*.log'))[-1].read_text()
    printed = re.search(r'\|\s+class .*?\n\+(.*?)\n\+', test_log.replace('\n+-', '\n+', 1), re.DOTALL)[1]
    row = [text.strip() for text in printed.splitlines()[1].strip('|').split('|')]
    for value in row[1:4]:  # IoU of the first class, in each branch
        assert value == 'nan' or f'<span>{value}</span>' in page
    assert page.count('<img src="data:image/webp;base64,') == 2
    assert 'train.py' in page
    assert 'test.py' in page
    assert '<code>train_cfg.<wbr>max_epochs</code></td><td><code>2</code><small>base: <code>80</code>' in page


def check_exchange_map(run, data: Path, checkpoint: Path, tmp_path: Path):
    """Table, file and red frames of the picture agree with the scales. Wrong arguments are clear errors."""
    trained = torch.load(checkpoint, weights_only=False)
    for m, half in enumerate((slice(0, 8), slice(8, 14))):
        trained['state_dict'][f'backbone.layer1.0.bn1.norms.{m}.weight'][half] = 0
    torch.save(trained, checkpoint.with_name('replaced.pth'))
    command = ('analysis_tools/exchange_map.py', checkpoint.with_name('replaced.pth'), '--out-dir', tmp_path / 'map')
    log = run(data, *command, '--image', 1, '--channels', 6)
    cells = [text.strip() for line in log.splitlines() if 'layer1.0.bn1' in line for text in line.split('|')]
    assert cells[1:7] == ['backbone.layer1.0.bn1', '16', '0.02', '8 (50.0%)', '6 (37.5%)', '0 (0.0%)']
    with open(tmp_path / 'map/channels.csv', newline='') as file:
        rows = {(row['layer'], row['modality'], int(row['channel'])): row for row in csv.DictReader(file)}
    for (layer, modality, channel), row in rows.items():
        key = f'{layer}.norms.{("rgb", "depth").index(modality)}.weight'
        scale = trained['state_dict'][key][channel].item()
        assert (float(row['scale']), row['replaced']) == (scale, str(int(abs(scale) < 0.02)))
    assert sum(row['replaced'] == '1' for row in rows.values()) == 14
    assert len(rows) == 2 * sum(2 * width for width in (16, 32, 64, 128))
    image = cv2.imread(str(tmp_path / 'map/image_1_backbone.layer1.0.bn1.png')).astype(
        int
    )  # the only one that replaces
    red = ((image == (0, 0, 255)).all(2) * 255).astype(np.uint8)
    assert cv2.connectedComponents(red)[0] - 1 == 6  # three channels in each modality
    for name in ('channels.png', 'scales.png'):
        assert cv2.imread(str(tmp_path / 'map' / name)).size > 0

    log = run(data, *command, '--layer', 'bn2', fails=True)
    assert '--layer bn2 matches 0 exchanging norms' in log.splitlines()[-1]
    log = run(data, command[0], CONFIG, *command[1:], '--image', 2, '--cfg-options', *SMALL, fails=True)
    assert log.splitlines()[-1] == '--image 2: the test data set has 2 samples, from 0 on.'
    torch.save(dict(state_dict=trained['state_dict']), tmp_path / 'weights.pth')
    log = run(data, command[0], tmp_path / 'weights.pth', fails=True)
    assert log.splitlines()[-1].startswith('0 config files are beside ')
    assert log.splitlines()[-1].endswith('weights.pth: give the config file before the checkpoint.')


def test_exchange_map_of_a_fusion_and_of_sliding_windows(run, made_nyudv2, tmp_path):
    options = [
        *SMALL,
        'model.test_cfg.mode=slide',
        'model.test_cfg.crop_size=[64,64]',
        'model.test_cfg.stride=[32,32]',
    ]
    fusion = dict(type='cen_mm.FusionSegmentor', per_modality_convs=False)
    fusion['fusion'] = dict(type='cen_mm.ConcatFusion', in_channels=[16, 32, 64, 128])
    for name, model in dict(cen={}, fusion=fusion).items():
        config = tmp_path / f'{name}.py'
        config.write_text(f'_base_ = {str(CONFIG)!r}\nmodel = {model!r}\n')
        cfg = Config.fromfile(config)
        cfg.merge_from_dict({key: ast.literal_eval(value) for key, value in (o.split('=') for o in SMALL[:6])})
        torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict()), tmp_path / 'model.pth')
        command = ('analysis_tools/exchange_map.py', config, tmp_path / 'model.pth', '--out-dir', tmp_path / name)
        run(made_nyudv2, *command, '--image', 0, '--layer', 'layer1.0.bn1', '--cfg-options', *options)
        assert cv2.imread(str(tmp_path / name / 'image_0_backbone.layer1.0.bn1.png')).size > 0


def test_tools_of_mmseg_run_configs(run, made_nyudv2, tmp_path):
    config, tools = tmp_path / 'config.py', MMSEG_TOOLS
    config.write_text(f"_base_ = __import__('cen_mm').config_path('cen_mm::{CONFIG.name}')")
    work_dir = tmp_path / 'work'
    options = ['--work-dir', work_dir, '--cfg-options', *SMALL]
    run(made_nyudv2, f'{tools}/train.py', config, *options, 'train_cfg.max_epochs=1', own_process=True)
    run(made_nyudv2, f'{tools}/test.py', config, work_dir / 'epoch_1.pth', *options, own_process=True)
    scores = read_last_scores(work_dir)
    run(made_nyudv2, 'test.py', f'cen_mm::{CONFIG.name}', work_dir / 'epoch_1.pth', *options)
    assert read_last_scores(work_dir) == scores


@pytest.mark.parametrize(
    ('tool', 'message'),
    [
        (
            ('browse_dataset.py', '--not-show'),
            "AttributeError: inputs has no 'permute', because it is a dict",
        ),
        (
            ('get_flops.py', '--shape', '64'),
            'ValueError: inputs is a list, but must be a dict of images',
        ),
    ],
    ids=lambda value: value[0],
)
def test_tools_of_mmseg_for_one_image_raise_clear_errors(run, made_nyudv2, tool, message):
    name, *options = tool
    path = f'{MMSEG_TOOLS}/analysis_tools/{name}'
    log = run(made_nyudv2, path, CONFIG, *options, fails=True)
    assert log.strip().splitlines()[-1].startswith(message)


def test_training_and_testing_in_two_processes(run, made_nyudv2, tmp_path):
    options = [
        *SMALL,
        'model_wrapper_cfg.type=MMDistributedDataParallel',
        'model_wrapper_cfg.device_ids=None',
        'train_cfg.max_epochs=1',
        'train_cfg.val_interval=1',
    ]
    with socket.socket() as other_training:
        with suppress(OSError):  # the port is in use already
            other_training.bind(('', 29500))  # torch's default port
            other_training.listen()
        log = run(
            made_nyudv2, 'dist_train.sh', CONFIG, 2, '--work-dir', tmp_path, '--verbose', '--cfg-options', *options
        )
    assert '[1][1/1]' in log  # four images in two processes with batch size two: one iteration
    assert '| ensemble |' in log
    options[-2:] = []
    test = ('dist_test.sh', CONFIG, tmp_path / 'epoch_1.pth', 2, '--work-dir', tmp_path)
    log = run(made_nyudv2, *test, '--show-dir', tmp_path / 'shown', '--cfg-options', *options)
    assert '| ensemble |' in log
    shown = sorted(path.name for path in (tmp_path / 'shown').rglob('*.png'))  # of both processes
    assert shown == [Path(line.split()[0]).name for line in (made_nyudv2 / 'val.txt').read_text().splitlines()]


@pytest.mark.parametrize(
    ('variables', 'expected'),
    [
        ({}, '--standalone --nproc_per_node=2'),
        (dict(PORT='2'), '--nnodes=1 --node_rank=0 --master_addr=127.0.0.1 --master_port=2 --nproc_per_node=2'),
        (dict(MASTER_PORT='3'), '--nnodes=1 --node_rank=0 --master_addr=127.0.0.1 --master_port=3 --nproc_per_node=2'),
        (
            dict(NNODES='4', NODE_RANK='1', MASTER_ADDR='host'),
            '--nnodes=4 --node_rank=1 --master_addr=host --master_port=29500 --nproc_per_node=2',
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize(('tool', 'files'), [('train', ['CONFIG']), ('test', ['CONFIG', 'CHECKPOINT'])])
def test_dist_scripts_follow_the_variables_of_mmseg(tmp_path, variables, expected, tool, files):
    (tmp_path / 'torchrun').write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / 'torchrun').chmod(0o755)
    names = ('PORT', 'MASTER_PORT', 'MASTER_ADDR', 'NNODES', 'NODE_RANK')
    env = {**{key: value for key, value in os.environ.items() if key not in names}, **variables}
    env['PATH'] = f'{tmp_path}:{env["PATH"]}'
    command = ['bash', ROOT / f'tools/dist_{tool}.sh', *files, '2', '--work-dir', 'a b']
    output = subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout
    options = f'{" ".join(files)} --launcher pytorch --work-dir a b'
    assert output == f'{expected} {ROOT}/tools/{tool}.py {options}\n'


def test_precision_and_scaled_learning_rate(run, made_nyudv2, tmp_path):
    train = ('train.py', CONFIG, '--work-dir', tmp_path)
    options = ('--cfg-options', *SMALL, 'train_cfg.max_epochs=1', 'optim_wrapper.optimizer.lr=0.06')
    amp = ('--amp', '--amp-dtype', 'bfloat16')
    accumulation = 'optim_wrapper.accumulative_counts=2'
    log = run(made_nyudv2, *train, *amp, '--auto-scale-lr', '--verbose', *options, accumulation)
    assert "type='cen_mm.BFloat16OptimWrapper'" in log
    groups = torch.load(tmp_path / 'epoch_1.pth', weights_only=True)['optimizer']['param_groups']
    # twice two images per step instead of six; exchanging norms have ten times the learning rate
    assert {round(group['initial_lr'], 9) for group in groups} == {0.04, 0.4}

    log = run(made_nyudv2, *train, '--amp-dtype', 'bfloat16', *options, fails=True)
    assert 'error: --amp-dtype selects the type for --amp: add --amp' in log
    if not torch.cuda.is_available():
        log = run(made_nyudv2, *train, '--amp', '--amp-dtype', 'float16', *options, fails=True)
        assert log.strip().endswith('--amp-dtype float16 needs a GPU for its loss scale: use bfloat16.')
    log = run(made_nyudv2, *train, '--auto-scale-lr', *options, 'auto_scale_lr=None', fails=True)
    assert '--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=N) in the config' in log.splitlines()[-1]


def test_mixed_precision_of_every_form_of_optim_wrapper(train_tool):
    adam = dict(optimizer=dict(type='Adam'))
    for wrapper in (
        adam,
        dict(adam, type='OptimWrapper'),
        dict(constructor='X', generators=adam, discriminators=adam),
    ):
        cfg = Config(dict(optim_wrapper=wrapper)).optim_wrapper
        train_tool.enable_amp(cfg, 'bfloat16')
        parts = [cfg] if 'optimizer' in cfg else [cfg.generators, cfg.discriminators]
        assert {part.type for part in parts} == {'cen_mm.BFloat16OptimWrapper'}
    with pytest.raises(SystemExit, match="--amp needs optim_wrapper.type='OptimWrapper', but it is 'Other': remove"):
        train_tool.enable_amp(dict(adam, type='Other'), 'bfloat16')


def test_config_on_a_gpu_and_under_open_mpi(monkeypatch, tmp_path):
    monkeypatch.setattr(command_line, 'get_device', lambda: 'cuda')
    monkeypatch.setattr(command_line, 'set_up_process', lambda *_, **__: None)
    monkeypatch.setattr(sys, 'argv', ['train.py', '--launcher', 'mpi', '--verbose'])
    monkeypatch.delenv('LOCAL_RANK', raising=False)
    monkeypatch.setenv('OMPI_COMM_WORLD_LOCAL_RANK', '3')
    with mock.patch.dict(os.environ):
        args = command_line.parse_args(argparse.ArgumentParser())
        assert os.environ['LOCAL_RANK'] == '3'
    path = tmp_path / 'config.py'
    path.write_text(f'_base_ = {str(CONFIG)!r}\nval_dataloader = val_cfg = val_evaluator = None\n')
    args.config, args.work_dir = str(path), None
    cfg = command_line.read_config(args)
    assert cfg.train_dataloader.pin_memory
    assert cfg.test_dataloader.pin_memory
    assert cfg.val_dataloader is None


@pytest.mark.parametrize(('capability', 'expected'), [((7, 5), 'float16'), ((8, 0), 'bfloat16')])
def test_emulated_bfloat16_is_not_the_default(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda: capability)
    assert runpy.run_path(str(ROOT / 'tools/train.py'))['default_amp_dtype']() == expected


@pytest.mark.parametrize('machine', ['no AVX-512', 'no bfloat16 instructions'])
@pytest.mark.parametrize('options', [[], ['--amp-dtype', 'bfloat16']], ids=str)
def test_amp_trains_in_float32_where_bfloat16_is_slow(run, made_nyudv2, tmp_path, monkeypatch, options, machine):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(torch.ops.mkldnn, '_is_mkldnn_bf16_supported', lambda: machine != 'no AVX-512')
    monkeypatch.setattr(platform, 'machine', lambda: 'x86_64')
    monkeypatch.setattr(torch.cpu, '_is_avx512_bf16_supported', lambda: False, raising=False)
    train = ('train.py', CONFIG, '--work-dir', tmp_path, '--amp', *options, '--check')
    log = run(made_nyudv2, *train, '--cfg-options', *SMALL)
    assert ('bfloat16 is slow on this CPU: training in float32' in log) == (not options)
    config = next(tmp_path.rglob('*.py')).read_text()
    assert ('BFloat16OptimWrapper' in config) == bool(options)


def test_plot_schedule_writes_an_image(run, made_nyudv2, tmp_path):
    config, image = ROOT / 'configs/cen_refinenet_r101_nyudv2.py', tmp_path / 'schedule.png'
    log = run(made_nyudv2, 'analysis_tools/plot_schedule.py', config, image, '--epoch-length', 2, own_process=True)
    assert 'backbone (520): 0.0005 to 0.0001' in log
    assert '0.003 to 0.0007' in log
    assert cv2.imread(str(image)).size > 0
    child = "train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=6)\nparam_scheduler = "
    child += "[dict(type='PolyLR', power=1.0, eta_min=0.0, end=5, by_epoch=False)]"
    (tmp_path / 'child.py').write_text(f'_base_ = {str(CONFIG)!r}\n{child}')
    log = run(made_nyudv2, 'analysis_tools/plot_schedule.py', tmp_path / 'child.py', image)
    assert 'backbone (32): 0.008 to 0, between 0 and 0.008' in log
    if importlib.util.find_spec('mmagic'):
        gan = ROOT / 'configs/cen_unet_shade-texture2rgb_rooms.py'
        log = run(made_nyudv2, 'analysis_tools/plot_schedule.py', gan, image, '--epoch-length', 2)
        assert 'generators (' in log
        assert 'discriminators (' in log


def test_get_flops_counts_parameters_and_operations(run, made_nyudv2):
    configs = [ROOT / 'configs/cen_refinenet_r101_nyudv2.py']
    if importlib.util.find_spec('mmagic'):
        configs.append(ROOT / 'configs/cen_unet_shade-texture2rgb_taskonomy.py')
    lines = run(made_nyudv2, 'analysis_tools/get_flops.py', *configs, own_process=True).splitlines()
    header, *rows = ([cell.strip() for cell in line.split('|')[1:-1]] for line in lines if line.startswith('|'))
    segmentation, *translation = (dict(zip(header, row)) for row in rows)
    assert (segmentation['input'], segmentation['parameters (M)']) == ('2 x 480x640', '118.2')
    assert (segmentation['GMACs'], segmentation['GFLOPs']) == ('617.9', '1235.7')
    assert segmentation['decode_head'] == f'{2 * 2 * 9 * 256 * 40 * 120 * 160 / 1e9:.1f}'  # one 3x3 convolution
    assert len(translation) == len(configs) - 1
    for row in translation:  # computed by hand from the U-Net's channels
        down = [3, 64, 128, 256, 512, 512, 512, 512, 512]
        up = [512, 1024, 1024, 1024, 1024, 512, 256, 128], [512, 512, 512, 512, 256, 128, 64, 3]
        macs = sum(16 * a * b * (128 >> i) ** 2 for i, (a, b) in enumerate(zip(down, down[1:])))
        macs += sum(16 * a * b * (1 << i) ** 2 for i, (a, b) in enumerate(zip(*up)))
        assert row['GMACs'] == f'{2 * macs / 1e9:.1f}'
        assert row['generators'] == row['GFLOPs']


def test_ablation_writes_table_and_plot_and_resumes(run, made_nyudv2, tmp_path):
    one, two = tmp_path / 'one.py', tmp_path / 'two.py'
    one.write_text(f'_base_ = {str(CONFIG)!r}')
    fusion = "dict(type='cen_mm.FusionSegmentor', backbone=dict(exchange=None), sparsity=None)"
    two.write_text(f'_base_ = {str(CONFIG)!r}\nmodel = {fusion}')
    work_dir = tmp_path / 'ablation'
    command = ('analysis_tools/ablation.py', one, two, '--seeds', 3, 5, '--work-dir', work_dir, '--jobs', 2)
    options = ('--cfg-options', *SMALL, 'train_cfg.max_epochs=1')
    out = run(made_nyudv2, *command, *options, own_process=True)
    assert '[0/4] one seed_3, two seed_3' in out

    def scores(name: str, key: str) -> np.ndarray:
        paths = [next(work_dir.glob(f'{name}/seed_{seed}/*/vis_data/scalars.json')) for seed in (3, 5)]
        rows = [[json.loads(line) for line in path.read_text().splitlines()] for path in paths]
        return np.array([[row[key] for row in run if key in row][-1] for run in rows])

    def cell(values: np.ndarray) -> str:
        return f'{values.mean():.2f} ± {abs(values[0] - values[1]) / 2**0.5:.2f}'

    lines = (work_dir / 'ablation.md').read_text().splitlines()
    assert lines[0] == '| config | seeds | rgb mIoU | depth mIoU | ensemble mIoU | aAcc | exchanged | minutes |'
    rows = [[text.strip() for text in line.strip('|').split('|')] for line in lines[2:]]
    exchanged = (scores('one', 'exchange/rgb') + scores('one', 'exchange/depth')) / 2
    expected = [cell(scores('one', key)) for key in ('rgb/mIoU', 'depth/mIoU', 'mIoU', 'aAcc')]
    assert rows[0][:-1] == ['one', '2', *expected, cell(100 * exchanged)]
    assert rows[1][:-1] == ['two', '2', '', '', cell(scores('two', 'mIoU')), cell(scores('two', 'aAcc')), '']
    assert scores('two', 'loss')[0] != scores('two', 'loss')[1]  # the runs use different seeds
    for name in ('ablation', 'exchange'):
        assert cv2.imread(str(work_dir / f'{name}.png')).size > 0

    folders = sorted(work_dir.glob('*/*/*/'))
    assert 'seed_' not in run(made_nyudv2, *command, *options).split('|')[0]
    (next(work_dir.glob('one/seed_5/*/vis_data/scalars.json'))).unlink()
    out = run(made_nyudv2, *command, *options[:-1], 'train_cfg.max_epochs=2', fails=True)
    assert f'{work_dir}/one/seed_3 has a run of another config or with other options: give another --work-dir' in out
    (made_nyudv2 / 'rgb/000000.png').unlink()
    out = run(made_nyudv2, *command, *options, fails=True)
    assert f'failed: {one}, seed 5: fix the error that {work_dir}/one/seed_5/train.log shows' in out
    assert len(sorted(work_dir.glob('*/*/*/'))) == len(folders) + 1  # the others are not repeated


def test_invalid_inputs_raise_clear_errors(run, made_nyudv2, tmp_path):
    log = run(made_nyudv2, 'test.py', CONFIG, tmp_path / 'none.pth', fails=True)
    assert log.strip().endswith('none.pth does not exist: give the path of a .pth file.')
    (tmp_path / 'text.pth').write_text('epoch, loss')
    torch.save({'state_dict': {'decode_head.conv_seg.bias': torch.zeros(40)}}, tmp_path / 'other.pth')
    for name, message in {
        'text': 'is not a checkpoint, or it is damaged or cut off: use another file.',
        'other': '1 of 278 tensors of CENSegmentor are loaded: 277 missing (backbone.conv1.weight, ..). Use a check',
    }.items():
        path = tmp_path / f'{name}.pth'
        log = run(made_nyudv2, 'test.py', CONFIG, path, '--work-dir', tmp_path, '--cfg-options', *SMALL, fails=True)
        assert f'{path}' in log.splitlines()[-1]
        assert message in log.splitlines()[-1]
    torch.save(dict(state_dict={}), tmp_path / 'empty.pth')
    test = ('test.py', CONFIG, tmp_path / 'empty.pth', '--work-dir', tmp_path)
    log = run(made_nyudv2, *test, '--available-modalities', 'deph', '--cfg-options', *SMALL, fails=True)
    assert "available_modalities=['deph'] does not match the modalities of the model" in log.strip().splitlines()[-1]
    log = run(made_nyudv2, *test, '--tta', '--cfg-options', *SMALL, 'tta_model=None', fails=True)
    assert log.strip().endswith(f'--tta needs tta_model and tta_pipeline in {CONFIG}: add them, or remove --tta.')
    log = run(made_nyudv2, 'analysis_tools/report.py', tmp_path, fails=True)
    assert log.strip().endswith('give the work directory of tools/train.py or tools/test.py.')
    (made_nyudv2 / 'depth/000000.png').unlink()
    log = run(made_nyudv2, 'train.py', CONFIG, '--work-dir', tmp_path, '--cfg-options', *SMALL, fails=True)
    assert 'depth/000000.png' in log.strip().splitlines()[-1]
    assert log.strip().endswith('does not exist: add the file, correct its path, or remove the sample.')
