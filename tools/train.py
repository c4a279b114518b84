"""Trains a segmentation or translation model from a config file."""

import argparse
import platform
from typing import Optional

import command_line
import torch
from mmengine.config import Config

from cen_mm import config_argument
from cen_mm.engine import PreflightHook, check_config, explain, is_check
from cen_mm.engine.optim import MIXED_PRECISION
from cen_mm.engine.preflight.config import optim_wrappers


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', type=config_argument, help='config file, or cen_mm::NAME for a config of cen_mm')
    parser.add_argument('--work-dir', help='folder for logs and checkpoints (default: work_dirs/CONFIG)')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='resume from this checkpoint; without a path, from the latest one in the work dir',
    )
    parser.add_argument('--amp', action='store_true', help='mixed precision, where it is fast')
    parser.add_argument(
        '--amp-dtype',
        choices=['bfloat16', 'float16'],
        help='type for --amp (default: bfloat16 where it is fast; float32 on CPUs without bfloat16); float16 uses a '
        'loss scale, and RefineNet, which has no norm layers, can overflow in it',
    )
    parser.add_argument('--auto-scale-lr', action='store_true', help='scale the learning rate with the batch size')
    parser.add_argument('--check', action='store_true', help='only check the config and the data, do not train')
    args = command_line.parse_args(parser)
    if args.amp_dtype is not None and not args.amp:
        parser.error('--amp-dtype selects the type for --amp: add --amp')
    return args


def default_amp_dtype() -> Optional[str]:
    """Returns bfloat16 where it is fast, else float16, which needs a GPU. None: only float32 is fast.

    GPUs of a compute capability below 8.0, such as V100 and T4, emulate bfloat16. CPUs without AVX-512 compute its
    convolutions without oneDNN, 10 times slower than in float32. Those with AVX-512 but without its bfloat16
    instructions (Intel before Sapphire Rapids) convert to float32 and back, 2.5 times slower.
    """
    if torch.cuda.is_available():
        return 'bfloat16' if torch.cuda.get_device_capability() >= (8, 0) else 'float16'
    # the check by which torch decides between oneDNN and its own convolution
    is_fast = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    if platform.machine() == 'x86_64' and hasattr(torch.cpu, '_is_avx512_bf16_supported'):  # torch >= 2.6
        is_fast = is_fast and torch.cpu._is_avx512_bf16_supported()
    return 'bfloat16' if is_fast else None


def enable_amp(optim_wrapper: dict, dtype: str) -> None:
    """Switches the config of an optimizer wrapper, or of one per network, to mixed precision, in place."""
    for _, wrapper in optim_wrappers(optim_wrapper):
        kind = wrapper.get('type', 'OptimWrapper')
        if kind != 'OptimWrapper':
            raise SystemExit(f"--amp needs optim_wrapper.type='OptimWrapper', but it is {kind!r}: remove --amp.")
        wrapper.update(MIXED_PRECISION[dtype])


def main() -> None:
    args = parse_args()
    cfg = command_line.read_config(args)
    if args.amp:
        dtype = args.amp_dtype or default_amp_dtype()
        if dtype == 'float16' and not torch.cuda.is_available():
            raise SystemExit('--amp-dtype float16 needs a GPU for its loss scale: use bfloat16.')
        if dtype is None:
            print('--amp: bfloat16 is slow on this CPU: training in float32. Force bfloat16 by --amp-dtype bfloat16.')
        else:
            enable_amp(cfg.optim_wrapper, dtype)
    if args.auto_scale_lr:
        if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
            raise SystemExit(
                '--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=N) in the config, where N is the number of '
                'images per step for which the learning rates are set.'
            )
        cfg.auto_scale_lr.enable = True
        _, wrapper = next(optim_wrappers(cfg.optim_wrapper))  # mmengine's batch size has no accumulated iterations
        cfg.auto_scale_lr.base_batch_size /= wrapper.get('accumulative_counts', 1)
    if args.resume is not None:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
    if args.check:
        cfg.setdefault('default_hooks', {}).preflight = dict(type='cen_mm.PreflightHook', check_only=True)
    train(cfg, args)


def train(cfg: Config, args: argparse.Namespace) -> None:
    """Trains; what fails before the first step, and what cen_mm finds wrong later, ends in one sentence."""
    runner = None
    try:
        check_config(cfg)
        runner = command_line.build_runner(cfg, args)
        loader = runner.train_loop.dataloader
        if len(loader) == 0:
            raise SystemExit(
                f'The training data set has {len(loader.dataset)} samples, fewer than train_dataloader.batch_size='
                f'{loader.batch_size} on each process, and drop_last=True drops the incomplete batch: reduce '
                'batch_size.'
            )
        runner.train()
    except Exception as error:
        in_training = runner is not None and all(h.done for h in runner.hooks if isinstance(h, PreflightHook))
        if in_training and not is_check(error):
            raise
        raise SystemExit(explain(error, cfg)) from None


if __name__ == '__main__':
    main()
