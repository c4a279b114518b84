"""Trains a segmentation or translation model from a config file."""

import argparse

import command_line
import torch
from mmengine.registry import RUNNERS
from mmengine.runner import Runner


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='folder for logs and checkpoints (default: work_dirs/CONFIG)')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='resume from this checkpoint; without a path, from the latest one in the work dir',
    )
    parser.add_argument('--amp', action='store_true', help='mixed precision: float16 on a GPU, bfloat16 on the CPU')
    return command_line.parse_args(parser)


def enable_amp(optim_wrapper: dict) -> None:
    """Switches the config of an optimizer wrapper to mixed precision, in place.

    A config without a ``type`` contains one optimizer wrapper per network; all of them are switched.
    """
    if 'type' not in optim_wrapper:
        for network in ('generators', 'discriminators'):
            enable_amp(optim_wrapper[network])
        return
    if optim_wrapper['type'] != 'OptimWrapper':
        raise SystemExit(
            f"--amp needs optim_wrapper.type='OptimWrapper', but it is {optim_wrapper['type']!r}: remove --amp."
        )
    if torch.cuda.is_available():
        optim_wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')
    else:
        optim_wrapper.update(type='cen_mm.BFloat16OptimWrapper')


def main() -> None:
    args = parse_args()
    cfg = command_line.read_config(args)
    if args.amp:
        enable_amp(cfg.optim_wrapper)
    if args.resume is not None:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    runner.train()


if __name__ == '__main__':
    main()
