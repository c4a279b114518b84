"""The check before training refuses mistakes in one sentence, warns of what is doubtful, and changes no result."""

import gc
import math
import os
import random
import re
import shutil
from argparse import Namespace
from pathlib import Path
from typing import Any, Iterator, Optional

import cv2
import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from mmengine.optim import CosineAnnealingLR
from mmengine.registry import HOOKS, MODELS
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.models.losses.dice_loss import dice_loss
from mmseg.structures import SegDataSample
from torch import nn

from cen_mm.datasets.nyudv2 import NYUDepthV2Dataset
from cen_mm.engine import PreflightHook, exchange_hook
from cen_mm.engine.preflight import trial
from cen_mm.engine.preflight.built import pretrained_weights
from cen_mm.engine.preflight.explain import describe
from cen_mm.segmentation import MultimodalDataPreProcessor

ROOT = Path(__file__).parents[2]
TASKS = {'segmentation': 'cen_refinenet_r18_rooms', 'translation': 'cen_unet_shade-texture2rgb_rooms'}
EXAMPLES = int(os.environ.get('CEN_MM_EXAMPLES', 12))  # of mutated configs
NAN, INF = math.nan, math.inf
TRAIN, VAL = 'train_dataloader/dataset', 'val_dataloader/dataset'
RGB, DEPTH = (f'model/data_preprocessor/modalities/{name}' for name in ('rgb', 'depth'))
PARAMWISE = 'optim_wrapper/paramwise_cfg'
GENERATORS = 'optim_wrapper/generators/paramwise_cfg'
GENERATOR_KEYS = f'{GENERATORS}/custom_keys'
CHECKPOINT = 'default_hooks/checkpoint'
ITERATIONS = dict(type='IterBasedTrainLoop', max_iters=2)
PLATEAU = dict(type='ReduceOnPlateauLR')
REMOVE = object()


@MODELS.register_module(force=True)
class MeanColors(nn.Module):
    """Stands in for the network of FID."""

    scores = ('FID', 'KID')

    def forward(self, images):
        return images.float().mean((2, 3))


@HOOKS.register_module(force=True)
class RandomNumbers(Hook):
    """Records the next random numbers when training starts, and all losses."""

    priority = 'LOWEST'
    records: list = []

    def before_train(self, runner):
        self.records[:] = [random.random(), np.random.rand(), torch.rand(1).item(), runner.model.training]

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.records += [float(value.detach()) for value in outputs.values()]


@pytest.fixture(scope='module')
def data(rooms, tmp_path_factory) -> dict[str, Path]:
    """The rooms in the layouts of both tasks."""
    return dict(segmentation=rooms.parent / 'nyudv2', translation=rooms)


@pytest.fixture(params=TASKS)
def task(request) -> str:
    """Each task that can run."""
    if request.param == 'translation':
        pytest.importorskip('mmagic')
    return request.param


@pytest.fixture
def make(data, tmp_path):
    """Returns a function that reads the config of a task, with a tiny network, and changes keys ``'a/b/c'`` in it."""

    def read(task: str, changes: Optional[dict] = None) -> Config:
        cfg = Config.fromfile(ROOT / f'configs/{TASKS[task]}.py')
        # With 4 channels, torch's convolution writes outside its memory on CPUs without AVX-512, in one thread.
        sizes = dict(in_channels=[8, 16, 32, 64], channels=8, top_channels=8)
        if task == 'segmentation':
            cfg.model.merge(dict(backbone=dict(base_channels=8), neck=sizes, decode_head=dict(in_channels=8)))
            cfg.train_dataloader.dataset.pipeline[3].crop_size = (32, 32)
        else:
            cfg.model.merge(dict(generator=dict(base_channels=4), discriminator=dict(base_channels=4)))
            cfg.val_evaluator.features = dict(type='MeanColors')
        for loader in (cfg.train_dataloader, cfg.val_dataloader):
            loader.update(num_workers=0, persistent_workers=False, batch_size=2)
            loader.dataset.data_root = str(data[task])
        cfg.train_cfg.update(max_epochs=1, val_interval=1)
        cfg.visualizer.vis_backends = []
        cfg.custom_hooks = [dict(type='RandomNumbers')]
        for key in ('test_dataloader', 'test_cfg', 'test_evaluator', 'tta_pipeline', 'tta_model'):
            cfg.pop(key, None)
        cfg.update(work_dir=str(tmp_path / 'work'), sync_bn=None)
        for path, value in (changes or {}).items():
            change(cfg, path.split('/'), value)
        return cfg

    return read


def change(cfg: Any, path: list, value: Any) -> None:
    """Sets or removes a key of a config."""
    *owners, key = [int(name) if str(name).isdigit() else name for name in path]
    for owner in owners:
        cfg = cfg[owner]
    if value is REMOVE:
        cfg.pop(key)
    else:
        cfg[key] = value


@pytest.fixture
def train(train_tool, forget_runs, monkeypatch):
    """Returns a function that trains like tools/train.py; it returns the sentence of a refusal or None, and the log.

    It leaves out what takes most of the time of such small runs: formatting the config, listing the environment,
    drawing the exchange, and collecting the garbage of all imported modules.
    """
    monkeypatch.setattr(Config, 'pretty_text', '')
    monkeypatch.setattr(Runner, '_log_env', lambda *_: None)
    monkeypatch.setattr(exchange_hook, 'draw_heat_map', lambda *_: np.zeros((8, 8, 3), np.uint8))
    gc.freeze()

    def run(cfg: Config) -> tuple[Optional[str], str]:
        forget_runs()
        shutil.rmtree(cfg.work_dir, ignore_errors=True)
        sentence = None
        try:
            train_tool.train(cfg, Namespace(verbose=True))
        except SystemExit as end:
            sentence = end.code
        logs = sorted(Path(cfg.work_dir).glob('*/*.log'))
        return sentence, logs[-1].read_text() if logs else ''

    yield run
    gc.unfreeze()


WRONG = {
    'segmentation': [
        # classes and labels
        (
            {'model/decode_head/num_classes': 40},
            'model.decode_head.num_classes is 40, but the data set has 17 classes',
        ),
        ({f'{VAL}/metainfo/classes': ['wall', 'floor']}, 'train_dataloader has classes='),
        ({f'{TRAIN}/reduce_zero_label': True}, 'train_dataloader.dataset.reduce_zero_label is True, but that of val'),
        (
            {f'{TRAIN}/ignore_index': 0},
            'train_dataloader.dataset.ignore_index is 0, but that of val_dataloader is 255',
        ),
        ({'model/decode_head/ignore_index': 0}, 'decode_head.ignore_index=0, but LoadLabels sets'),
        ({'val_evaluator/ignore_index': 0}, 'val_evaluator: ignore_index=0 of the metric, but LoadLabels sets'),
        # images
        ({f'{RGB}/mean': [0.485, 0.456, 0.406], f'{RGB}/std': [0.229, 0.224, 0.225]}, 'give them in the unit of the'),
        ({f'{RGB}/std': [0.229, 0.224, 0.225]}, 'give them in the unit of the images'),
        ({f'{RGB}/mean': [-123.675, -116.28, -103.53]}, 'remove the minus sign'),
        ({f'{DEPTH}/mean': [-2.5] * 3}, 'remove the minus sign'),
        ({f'{RGB}/mean': [NAN, 0.0, 0.0]}, 'model.data_preprocessor.modalities.rgb.mean.0 is nan'),
        ({f'{RGB}/std': [0.0, 1.0, 1.0]}, 'rgb.std is [0.0, 1.0, 1.0]: standard deviations must be positive'),
        ({f'{RGB}/std': [-58.395, 57.12, 57.375]}, 'standard deviations must be positive'),
        ({f'{TRAIN}/modalities/depth/scale': 0}, 'modalities.depth: scale=0: give a positive number'),
        ({f'{TRAIN}/modalities/depth/scale': -5000}, 'modalities.depth: scale=-5000: give a positive number'),
        ({f'{TRAIN}/modalities/depth/scale': NAN}, 'train_dataloader.dataset.modalities.depth.scale is nan'),
        ({f'{TRAIN}/modalities/depth/scale': 5}, 'give them in the unit of the images'),
        ({f'{TRAIN}/pipeline/3/crop_size': (600, 600)}, 'RandomCrop.crop_size=(600, 600) is larger than every image'),
        ({f'{TRAIN}/pipeline/2': dict(type='cen_mm.CenterPad', size=(64, 64), pad_val=dict(dept=1))}, "keys ['dept']"),
        # optimizer and losses
        (
            {f'{PARAMWISE}/custom_keys': dict(backbone=dict(lr_mul=2))},
            'custom_keys.backbone.lr_mul is unknown: write lr_',
        ),
        ({f'{PARAMWISE}/exchanging_norms': dict(lr_mul=2)}, 'exchanging_norms.lr_mul is unknown: write lr_mult'),
        ({f'{PARAMWISE}/exchanging_norm': dict(lr_mult=2)}, 'exchanging_norm is unknown: write exchanging_norms'),
        (
            {'optim_wrapper/constructor': 'DefaultOptimWrapperConstructor'},
            "needs constructor='cen_mm.GroupingOptimWrapp",
        ),
        (
            {'optim_wrapper/constructor': 'LearningRateDecayOptimizerConstructor', PARAMWISE: dict(num_layers=6)},
            "finds the layers of some backbones of mmseg by name, not those of cen_mm: use 'cen_mm.Grouping",
        ),
        ({'model/decode_head/loss_decode/class_weight': [1.0, 2.0]}, 'has 2 values in class_weight, but the data set'),
        (
            {'train_cfg': ITERATIONS, f'{CHECKPOINT}/by_epoch': False, 'param_scheduler': [dict(type='PolyLR')]},
            'param_scheduler.0 counts epochs, but train_cfg.max_iters counts iterations: set param_scheduler.0.by_epo',
        ),
        (
            {'train_cfg': ITERATIONS},
            'default_hooks.checkpoint counts epochs, but train_cfg.max_iters counts iterations',
        ),
        ({'optim_wrapper/optimizer/lr': 0}, 'optim_wrapper.optimizer.lr is 0: give a positive number'),
        ({'model/decode_head/loss_decode/loss_weight': NAN}, 'model.decode_head.loss_decode.loss_weight is nan'),
        ({'model/decode_head/loss_decode/loss_weight': -1.0}, 'loss_weight is -1.0: give a number of at least 0'),
        ({'model/sparsity/loss_weight': -1.0}, 'model.sparsity.loss_weight is -1.0: give a number of at least 0'),
        ({'model/backbone/threshold': NAN}, 'model.backbone.threshold is nan: give a finite number'),
        ({'model/backbone/threshold': INF}, 'model.backbone.threshold is inf: give a finite number'),
        # parts that do not fit together: found by the trial
        ({'model/decode_head/in_channels': 5}, 'model cannot be trained on samples of train_dataloader: RuntimeError'),
        ({'train_dataloader/batch_size': 1}, 'in training, but train_dataloader.batch_size is 1: increase it'),
        (
            {'train_dataloader/batch_size': 3, 'train_dataloader/drop_last': False},
            'but the last batch of an epoch has one (4 samples): set train_dataloader.drop_last=True',
        ),
        ({f'{VAL}/label': None}, 'Samples of val_dataloader cannot be evaluated: '),
        (
            {'model/decode_head/loss_decode/loss_weight': 1e39},
            'loss is inf before the first step: check the images in',
        ),
        ({'val_evaluator': [dict(type='cen_mm.MultimodalIoUMetric')] * 2}, 'Two metrics of val_evaluator have the sc'),
        (
            {f'{loader}/label_map': {200: 0} for loader in (TRAIN, VAL)},
            'all 4096 pixels of the samples are unlabeled. C',
        ),
        ({'model/neck/in_channels': 7}, 'model.neck: TypeError: '),
        ({f'{CHECKPOINT}/save_best': 'mIoUs'}, 'CheckpointHook.save_best.mIoUs is unknown: write mIoU'),
        (
            {f'{CHECKPOINT}/save_best': 'mIuO'},
            'default_hooks.checkpoint: ValueError: Cannot infer the rule for key mIuO',
        ),
        # hooks and intervals
        ({f'{CHECKPOINT}/rule': 'less'}, "default_hooks.checkpoint.rule is 'less', but a better mIoU is greater"),
        ({'custom_hooks': [dict(type='cen_mm.ExchangeHook')]}, 'default_hooks.exchange and custom_hooks.0 are both'),
        ({'default_hooks/exchange/interval': 0}, 'default_hooks.exchange.interval is 0: give a positive number'),
        ({f'{CHECKPOINT}/interval': -5}, 'default_hooks.checkpoint.interval is -5: give a positive number'),
        ({'default_hooks/logger/interval': 0}, 'default_hooks.logger.interval is 0: give a positive number'),
        ({'train_cfg/val_interval': 0}, 'train_cfg.val_interval is 0: give a positive number'),
        ({'load_form': 'x.pth'}, 'load_form is not read: write load_from'),
        ({'default_hooks/checkpointt': dict(type='CheckpointHook')}, 'write default_hooks.checkpoint, or choose'),
        ({f'{CHECKPOINT}/intervall': 1}, 'default_hooks.checkpoint.intervall is not read: write default_hooks.checkp'),
        ({f'{CHECKPOINT}/max_keep_ckpts': -3}, 'checkpoint.max_keep_ckpts is -3: give a positive number'),
        ({'default_hooks/finite_losss': dict(type='cen_mm.FiniteLossHook')}, 'write default_hooks.finite_loss, or'),
        ({'modell': {}}, 'modell is not read: write model, or choose another name'),
        ({'model/test_cfg/modee': 'whole'}, 'model.test_cfg.modee is not read: write model.test_cfg.mode, or'),
        ({'model/train_cfg': 'abc'}, "model.train_cfg is 'abc': give a dict"),
        ({f'{TRAIN}/metainfo/classess': ['wall']}, 'classess is not read: write train_dataloader.dataset.metainfo.cl'),
        ({'val_evaluator/iou_metricss': ['mDice']}, 'val_evaluator.iou_metricss is not read: write val_evaluator.iou'),
        ({'env_cfg/cudnn_benchmarkk': True}, 'env_cfg.cudnn_benchmarkk is not read: write env_cfg.cudnn_benchmark'),
        ({'env_cfg/dist_cfg/backendd': 'gloo'}, 'env_cfg.dist_cfg.backendd is not read: write env_cfg.dist_cfg.back'),
        ({'train_dataloader/batch_size': REMOVE}, 'train_dataloader has no batch_size'),
        ({'val_dataloader/sampler': REMOVE}, 'val_dataloader has no sampler'),
        ({'train_dataloader/sampler': REMOVE}, 'train_dataloader has no sampler'),
        ({'train_dataloader/batch_sampler': dict(type='BatchSampler')}, 'train_dataloader.batch_sampler is not supp'),
        ({'train_dataloader/sampler/type': 'InfiniteSampler'}, 'so an epoch would never end: use type='),
        ({'train_dataloader/sampler/shuffle': 'False'}, "train_dataloader.sampler.shuffle is 'False': write True or"),
        (
            {'optim_wrapper/clip_grad': dict(max_normm=1)},
            'optim_wrapper.clip_grad.max_normm is unknown: write max_norm',
        ),
        ({'optim_wrapper/clip_grad/max_norm': 0}, 'optim_wrapper.clip_grad.max_norm is 0: give a positive number'),
        (
            {'param_scheduler/1/eta_min_ratio': 'a'},
            "param_scheduler.1.eta_min_ratio is 'a': give a number of at least",
        ),
        ({'param_scheduler/0/start_factor': 0}, 'param_scheduler.0.start_factor is 0: give a positive number'),
        ({'param_scheduler/1/eta_min_ratio': 1.03}, 'param_scheduler.1.eta_min_ratio is 1.03: give a number of at'),
        ({'model/data_preprocessor/size_divisor': 0}, 'model.data_preprocessor.size_divisor is 0: give a positive'),
        (
            {'model/decode_head/loss_decode/loss_name': 'ce'},
            "has a loss with loss_name='ce', which mmengine logs but does not train: use a",
        ),
        ({'model/test_cfg/mode': 'slide'}, "model.test_cfg.mode='slide' needs crop_size=(HEIGHT, WIDTH) and stride="),
        ({'model/test_cfg/mode': 'hole'}, "model.test_cfg.mode='hole': choose 'whole' or 'slide'"),
        (
            {'param_scheduler': [dict(PLATEAU, monitor='mIoU')]},
            "rule is 'less', but a better mIoU is greater: set rule",
        ),
        (
            {'param_scheduler': [dict(PLATEAU, monitor='mIoUU', rule='greater')]},
            'param_scheduler.0.monitor.mIoUU is unknown: write mIoU',
        ),
        ({'model/backbone/zero_init_residual': 'False'}, "zero_init_residual is 'False': write True or False"),
        ({f'{TRAIN}/pipeline/2/type': REMOVE}, 'train_dataloader.dataset.pipeline.2: KeyError: '),
        ({'param_scheduler/1/type': CosineAnnealingLR}, ": give its registered name, such as type='mmseg.SwinTransf"),
        ({'model': REMOVE}, 'model is None: training needs a value of type dict'),
    ],
    'translation': [
        ({f'{TRAIN}/inputs': ['rgb', 'edge_texture']}, "train_dataloader.dataset.target 'rgb' is also an input"),
        ({f'{VAL}/target': 'normal'}, 'train_dataloader has target=rgb, but val_dataloader has normal'),
        ({'model/loss_config': dict(pixel_loss_wait=1)}, 'but its only key is pixel_loss_weight'),
        (
            {'model/loss_config/pixel_loss_weight': -1},
            'model.loss_config.pixel_loss_weight is -1: give a number of at',
        ),
        ({'model/generator/threshold': NAN}, 'model.generator.threshold is nan'),
        ({PARAMWISE: dict(norm_decay_mult=0.0)}, 'paramwise_cfg is of no network: set it in optim_wrapper.generators'),
        (
            {f'{GENERATORS}/exchanging_norms': dict(lr_mult=3)},
            "which serves one network: use custom_keys={'encoder': dict(lr_mult=..)}, or names such as",
        ),
        ({f'{GENERATOR_KEYS}/ensemble.alpha': dict(lr_mul=2)}, 'ensemble.alpha.lr_mul is unknown: write lr_mult'),
        ({f'{CHECKPOINT}/save_best': 'PSNR'}, "rule is 'less', but a better PSNR is greater: set rule='greater'"),
        ({f'{CHECKPOINT}/save_best': 'rgb/L1'}, 'CheckpointHook.save_best.rgb/L1 is unknown: '),
        (
            {f'{TRAIN}/pipeline/2/size': (96, 96)},
            'CropImages on sample 0: CropImages.size is (96, 96), but the images',
        ),
        ({f'{TRAIN}/pipeline/3/prob': 2.5}, 'train_dataloader.dataset.pipeline.3.prob is 2.5: give a number of at'),
        ({f'{TRAIN}/pipeline/3/prob': -1.5}, 'train_dataloader.dataset.pipeline.3.prob is -1.5: give a number of'),
        ({'model/generator/num_levels': 7}, 'must be multiples of 128: crop or resize them'),
        (
            {
                'optim_wrapper/generator': dict(optimizer=dict(type='Adam', lr=1e-3)),
                'optim_wrapper/generators': REMOVE,
            },
            'optim_wrapper',
        ),
    ],
}
SHARED = 'model.sparsity penalizes norms of one modality, or of all modalities together, whose channels nothing'
DOUBTFUL = {
    'segmentation': [
        ({'model/per_modality_norms': False}, SHARED),
        ({'model/type': 'cen_mm.FusionSegmentor'}, SHARED),
        (
            {f'{DEPTH}/mean': [0.0] * 3, f'{DEPTH}/std': [1.0] * 3, f'{TRAIN}/modalities/depth/scale': 1000},
            'The median of depth is 1',
        ),
        ({f'{loader}/modalities/depth/scale': 2000 for loader in (TRAIN, VAL)}, 'modalities.depth has mean=[2.5, 2.5'),
        ({f'{RGB}/mean': [0.0, 0.0, 0.0]}, ' model.data_preprocessor.modalities.rgb has mean=[0, 0, 0]'),
        ({f'{VAL}/modalities/depth/scale': 4000}, 'depth is read with scale=5000 for training, but with scale=4000'),
        (
            {f'{loader}/ignore_index': 3 for loader in (TRAIN, VAL)},
            'is the label of class bed, which is never trained',
        ),
        ({f'{PARAMWISE}/exchanging_norms/lr_mult': 1e5}, 'A learning rate is 80: check optimizer.lr and all lr_mult'),
        (
            {f'{PARAMWISE}/custom_keys': dict(back_bone=dict(lr_mult=2))},
            'custom_keys.back_bone has no effect, because it is in no name of a parameter, such as backbone.',
        ),
        ({'train_cfg/max_epochs': 2}, 'epochs, but training after 2: let both end at the same time, unless'),
        (
            {'param_scheduler': [dict(type='MultiStepLR', milestones=[3, 5], by_epoch=False)]},
            'param_scheduler.0 ends after 5 iterations, but training after 2',
        ),
        (
            {
                'train_cfg': ITERATIONS,
                'param_scheduler': [dict(type='PolyLR', end=1, by_epoch=False)],
                f'{CHECKPOINT}/by_epoch': False,
            },
            'param_scheduler.0 ends after 1 iterations, but training after 2',
        ),
    ],
    'translation': [
        ({'crop_size': (128, 96)}, 'crop_size=(128, 96) has no effect, because it is in no transform of train_'),
        ({'resize_size': 96}, 'resize_size=96 has no effect, because it is in no transform of train_'),
        (
            {
                'model/modalities': ['reshading'],
                **{f'{loader}_dataloader/dataset/inputs': ['reshading'] for loader in ('train', 'val')},
            },
            SHARED,
        ),
        (
            {f'{GENERATOR_KEYS}/alfa': dict(lr_mult=2)},
            'custom_keys.alfa has no effect, because it is in no name of a parameter, such as target.',
        ),
    ],
}


def cases(table: dict) -> list:
    return [pytest.param(task, *case, id=f'{task[0]}-{next(iter(case[0]))}') for task in TASKS for case in table[task]]


@pytest.mark.parametrize(('task', 'changes', 'expected'), cases(WRONG), indirect=['task'])
def test_mistakes_are_refused_in_one_sentence(train, make, task, changes, expected):
    sentence, log = train(make(task, changes))
    assert expected in (sentence or 'trained')
    assert '\n' not in sentence
    assert 'Epoch(train)' not in log
    if traceback := re.search(r'traceback: (\S+)\)', sentence):
        assert 'Traceback (most recent call last)' in Path(traceback[1]).read_text()


@pytest.mark.parametrize(('task', 'changes', 'expected'), cases(DOUBTFUL), indirect=['task'])
def test_doubtful_settings_are_warned_of_once(train, make, task, changes, expected):
    sentence, log = train(make(task, changes))
    assert sentence is None
    warnings = [line for line in log.splitlines() if expected in line]
    assert len(warnings) == 1, log
    assert ' - WARNING - ' in warnings[0]


def test_a_good_config_has_no_warning(train, make, task):
    cfg = make(task, {'default_hooks/preflight/check_only': True})
    cfg.train_cfg.max_epochs = Config.fromfile(ROOT / f'configs/{TASKS[task]}.py').train_cfg.max_epochs
    ended, log = train(cfg)
    assert ended == 0
    assert 'Checked before training' in log
    warnings = [line for line in log.splitlines() if ' - WARNING - ' in line]
    assert not [line for line in warnings if 'prefix is not set' not in line]  # mmengine's, about every metric


def test_results_do_not_depend_on_the_check(train, make, task):
    """With dropout, random crops and flips: equal random numbers and losses."""
    records = []
    for enabled in (True, False):
        sentence, log = train(make(task, {'default_hooks/preflight/enabled': enabled, 'train_cfg/max_epochs': 2}))
        assert sentence is None
        assert ('Checked before training' in log) == enabled
        records.append(list(RandomNumbers.records))
    assert records[0] == records[1]
    assert len(set(records[0])) > 20


def test_trial_takes_the_same_part_of_images_and_labels():
    """Images of different sizes may become equal by it, and labels are padded as much as their images."""
    samples = [
        dict(
            inputs=dict(rgb=torch.zeros(3, *size, dtype=torch.uint8), depth=torch.zeros(1, *size)),
            data_samples=SegDataSample(gt_sem_seg=PixelData(data=torch.zeros(1, *size, dtype=torch.uint8))),
        )
        for size in ((300, 400), (280, 500), (200, 300))
    ]
    batch = trial._batch(samples, Namespace(collate_fn=pseudo_collate), nn.Linear(1, 1), with_labels=True)
    values = dict(mean=[0.0] * 3, std=[1.0] * 3)
    preprocessor = MultimodalDataPreProcessor(dict(rgb=values, depth=values), size_divisor=64)
    batch = preprocessor(batch, training=True)
    assert batch['inputs'].shape == (3, 6, 256, 256)
    assert [sample.gt_sem_seg.shape for sample in batch['data_samples']] == [(256, 256)] * 3


def test_table_shows_what_is_trained(run_tool, make, data, tmp_path):
    """All numbers are those of the files: without crop and flip, and with every image."""
    cfg = make('segmentation', {f'{TRAIN}/pipeline/3/crop_size': (60, 80), f'{TRAIN}/pipeline/2/prob': 0.0})
    cfg.optim_wrapper.accumulative_counts = 3
    cfg.custom_hooks = []
    cfg.dump(tmp_path / 'config.py')
    log = run_tool('train.py', tmp_path / 'config.py', '--check', '--work-dir', tmp_path / 'work')
    assert 'Epoch(train)' not in log
    assert not list((tmp_path / 'work').glob('*.pth'))
    rows = {row[0]: row[1:] for row in (re.split(r'\s*\|\s*', line)[1:-1] for line in log.splitlines() if '|' in line)}

    def read(folder: str) -> np.ndarray:
        return np.stack([cv2.imread(str(data['segmentation'] / folder / f'{i:06d}.png'), -1) for i in range(4)])

    rgb = (read('rgb')[..., ::-1] - np.array([123.675, 116.28, 103.53])) / np.array([58.395, 57.12, 57.375])
    depth, labels = read('depth'), read('masks')
    meters = (depth[depth > 0] / 5000 - 2.5) / 1.5
    for name, values, invalid in (('rgb', rgb, 0), ('depth', meters, (depth == 0).mean())):
        numbers = [f'{number:.3g}' for number in (values.mean(), values.std(), values.min(), values.max())]
        assert rows[name] == [*numbers, f'{invalid:.1%}']
    names = NYUDepthV2Dataset.METAINFO['classes']
    used = np.isin(labels, [names.index(name) for name in cfg.train_dataloader.dataset.metainfo.classes])
    for name in ('wall', 'floor', 'bed'):
        assert f'{name} {(labels == names.index(name)).sum() / used.sum():.1%}, ' in log
    assert f'unlabeled: {1 - used.mean():.1%} of all pixels' in log
    assert rows['optimizer'][:2] == ['0.008', '0']  # the last group: the exchanging norms
    assert rows['optimizer'][3] == str(2 * 2 * 240)  # scale and shift of two modalities
    assert '8 exchanging layers with 240 channels; below the threshold of 0.02: rgb 0.0%, depth 0.0%' in log
    assert '4 training samples, 2 validation samples; 2 iterations; input of 60x80 pixels (height x width)' in log
    assert 'effective batch: 6 = 2 samples x 1 processes x 3 accumulated iterations' in log
    assert 'weights: random' in log


def test_table_names_modalities_that_the_model_does_not_use(train, make):
    changes = {'model/data_preprocessor/modalities/depth': REMOVE, 'model/sparsity': None}
    sentence, log = train(make('segmentation', changes))
    assert sentence is None
    assert 'the model does not use depth of the data set' in log


def test_an_assertion_without_message_is_named():
    """As in mmseg's Dice loss, which does not take the weights of a sampler."""
    with pytest.raises(AssertionError) as error:
        dice_loss(*torch.zeros(2, 2, 3, 4, 4), weight=torch.zeros(2, 4, 4), ignore_index=None)
    assert describe(error.value).startswith('AssertionError: dice_loss.py, line ')
    assert describe(error.value).endswith(': assert weight.ndim == loss.ndim')


def test_weights_in_the_table():
    model = dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='a.pth')), pretrained=None, head=[1])
    assert list(pretrained_weights(model)) == ['model.backbone.init_cfg: a.pth']


def check_in_process(rank: int, store: str, errors: Any) -> None:
    """Runs the hook in one of two processes; only the check of the first fails."""
    torch.distributed.init_process_group('gloo', f'file://{store}', rank=rank, world_size=2)
    hook = PreflightHook()
    hook._check = lambda runner: [][0]
    try:
        hook.before_train(None)
    except ValueError as error:
        errors.put(str(error))


def test_all_processes_raise_the_error_of_the_main_process(tmp_path):
    errors = torch.multiprocessing.get_context('fork').SimpleQueue()
    arguments = (str(tmp_path / 'store'), errors)
    torch.multiprocessing.start_processes(check_in_process, arguments, 2, start_method='fork')
    assert [errors.get() for _ in range(2)] == ['IndexError: list index out of range'] * 2


PARTS = (
    'model',
    'train_dataloader',
    'val_dataloader',
    'val_evaluator',
    'optim_wrapper',
    'param_scheduler',
    'train_cfg',
)
PARTS += ('default_hooks', 'custom_hooks', 'randomness', 'visualizer', 'log_processor', 'env_cfg')


def mutations(node: Any, path: tuple = ()) -> Iterator[tuple[tuple, Any]]:
    """Yields paths and values: every key is removed and misspelled, every value becomes wrong in several ways."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        here = (*path, key)
        if not path and key not in PARTS:
            continue
        values = ['abc', None]
        if isinstance(value, (dict, list, tuple)):
            yield from mutations(value, here)
        elif isinstance(value, str):
            values = [7, f'{value}x']
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            values = ['abc', NAN, -value - 1, 0, 3 * value + 1]
        yield from ((here, each) for each in values)
        if isinstance(key, str):
            yield here, REMOVE
            yield (*path, f'{key}{key[-1]}'), value


@pytest.mark.parametrize('task', TASKS, indirect=True)
def test_a_mutated_config_runs_or_is_refused_in_one_sentence(train, make, task):
    wrong = list(mutations(make(task).to_dict()))

    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, phases=[Phase.generate])
    @given(st.lists(st.sampled_from(wrong), min_size=1, max_size=2))
    def run(changes):
        cfg = make(task)
        try:
            for path, value in changes:
                change(cfg, list(path), value)
        except (KeyError, TypeError, AttributeError, IndexError):  # the first change removed the owner of the second
            return
        sentence, log = train(cfg)
        assert 'Epoch(val)' in log if sentence is None else '\n' not in sentence.strip()

    run()
