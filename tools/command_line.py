"""Arguments, settings and console output that train.py and test.py share."""

import argparse
import os
import platform
import shlex
import sys
import warnings
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from mmengine.device import get_device
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from cen_mm.engine import CommandRunner, ConsoleRunner, set_up_process

# Their warnings are about their own code, which users cannot change.
DEPENDENCIES = r'(mmengine|mmcv|mmseg|mmagic|timm|torch|torchvision|albumentations|diffusers)\b'
PACKAGES = ('cen_mm', 'torch', 'mmengine', 'mmcv', 'mmcv-lite', 'mmsegmentation', 'mmagic', 'numpy')


def parse_args(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Adds the shared arguments, parses the command line and sets up the process."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='settings to override in the config: key=value; lists as key="[a,b]" without spaces',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    parser.add_argument(
        '--verbose', action='store_true', help='show the whole log in the console, not only in the file'
    )
    parser.add_argument('--no-memory-tuning', action='store_true', help='return freed memory to the system (CPU only)')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not args.verbose:
        warnings.filterwarnings('ignore', module=DEPENDENCIES)
    # mmengine reads LOCAL_RANK, which Open MPI names differently.
    os.environ.setdefault('LOCAL_RANK', os.environ.get('OMPI_COMM_WORLD_LOCAL_RANK', str(args.local_rank)))
    set_up_process(args.launcher, tune_memory=not args.no_memory_tuning)
    return args


def read_config(args: argparse.Namespace) -> Config:
    """Reads the config file, applies the shared arguments and ``work_dir``, and records the command for report.py."""
    cfg = Config.fromfile(args.config)
    cfg.launcher = args.launcher
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    cfg.setdefault('work_dir', str(Path('work_dirs', Path(args.config).stem)))
    cfg.run = dict(command=shlex.join(sys.argv), config=args.config, versions=_versions())
    if get_device() == 'cpu':
        cfg.sync_bn = None  # torch's synchronized batch norm needs GPUs
    else:
        for phase in ('train', 'val', 'test'):  # batches are copied to the GPU while it computes
            if loader := cfg.get(f'{phase}_dataloader'):
                loader.setdefault('pin_memory', True)
    return cfg


def _versions() -> dict[str, str]:
    """Returns the versions of Python and of the installed packages, and the name of the device."""
    versions = dict(python=platform.python_version())
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    versions['device'] = torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU'
    return versions


def build_runner(cfg: Config, args: argparse.Namespace) -> Runner:
    """Builds the runner; without ``--verbose``, its console output is short."""
    if 'runner_type' in cfg:
        return RUNNERS.build(cfg)
    if args.verbose:
        return CommandRunner.from_cfg(cfg)
    test = shlex.join(['python', str(Path(sys.argv[0]).with_name('test.py')), args.config])
    runner = ConsoleRunner.from_cfg(cfg)
    runner.register_hook(dict(type='cen_mm.ConsoleHook', test_command=test))  # not a setting of the config
    return runner
