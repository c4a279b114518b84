"""Counts the parameters and operations of a config's network, in total and per part. It needs no data and no weights.

python tools/analysis_tools/get_flops.py configs/cen_*_nyudv2.py
python tools/analysis_tools/get_flops.py configs/cen_refinenet_r101_nyudv2.py --shape 480 640 --cfg-options ...

GMACs are 10^9 multiply-adds of convolutions, matrix products and attention, for one image per modality. GFLOPs are
twice the GMACs; the last columns show them per part. Auxiliary heads and discriminators are used only in training, so
their parameters and operations are not counted.
"""

import argparse
from collections import Counter
from functools import partial
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from mmengine.logging import MMLogger
from prettytable import PrettyTable
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from cen_mm import config_argument
from cen_mm.apis import init_model

TRAINING_ONLY = ('auxiliary_head', 'discriminators')


def count(model: nn.Module, shape: tuple[int, ...]) -> tuple[int, dict[str, int]]:
    """Counts parameters and operations of one forward pass.

    Args:
        model: model on the meta device.
        shape: shape of its input, ``(1, 3M, H, W)``.

    Returns:
        The number of parameters, and the number of operations of each part by its name (two per multiply-add).
    """
    parts, depth = Counter(), Counter()

    # FlopCounterMode(model) of torch 2.1 fails if a module takes a tuple of tensors, so the parts are counted here.
    def enter(name: str, *_) -> None:
        parts[name] -= 0 if depth[name] else counter.get_total_flops()
        depth[name] += 1

    def leave(name: str, *_) -> None:
        depth[name] -= 1
        parts[name] += 0 if depth[name] else counter.get_total_flops()

    for name, part in model.named_children():
        for module in part.modules():  # lists of modules have no forward pass, and heads may skip their hooks
            module.register_forward_pre_hook(partial(enter, name))
            module.register_forward_hook(partial(leave, name))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.empty(shape, device='meta'))
    parts['other'] = counter.get_total_flops() - sum(parts.values())
    parameters = sum(p.numel() for name, p in model.named_parameters() if not name.startswith(TRAINING_ONLY))
    return parameters, {name: n for name, n in parts.items() if n}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'configs', nargs='+', type=config_argument, metavar='config', help='config files, one row per file'
    )
    parser.add_argument(
        '--shape',
        type=int,
        nargs='+',
        help="height and width, or one side (default: 480 640; for translation, the config's)",
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='settings to override: key=value')
    args = parser.parse_args()
    MMLogger.get_instance('get_flops', log_level='ERROR')
    rows = {}
    for path in args.configs:
        cfg = Config.fromfile(path)
        cfg.merge_from_dict(args.cfg_options or {})
        size = args.shape or (cfg.crop_size if cfg.get('default_scope') == 'mmagic' else (480, 640))
        if len(size) > 2:
            raise SystemExit(f'--shape has {len(size)} values: give height and width, or one side.')
        model = init_model(cfg, device='meta')  # tensors on this device have shapes, but no values
        modalities = len(getattr(model, 'modalities', ['image']))  # other models of mmseg have one
        channels = getattr(model, 'in_channels', 3 * modalities)
        parameters, parts = count(model, (1, channels, size[0], size[-1]))
        rows[path] = (f'{modalities} x {size[0]}x{size[-1]}', parameters, parts)
    names = list(dict.fromkeys(name for _, _, parts in rows.values() for name in parts))
    table = PrettyTable(['config', 'input', 'parameters (M)', 'GMACs', 'GFLOPs', *names], align='r')
    table.align['config'] = 'l'
    for path, (size, parameters, parts) in rows.items():
        total = sum(parts.values()) / 1e9
        part_columns = [f'{parts[part] / 1e9:.1f}' if part in parts else '' for part in names]
        numbers = [f'{number:.1f}' for number in (parameters / 1e6, total / 2, total)]
        table.add_row([Path(path).name, size, *numbers, *part_columns])
    print(table)


if __name__ == '__main__':
    main()
