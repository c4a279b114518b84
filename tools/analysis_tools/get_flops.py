"""Counts the parameters and operations of any config's network, and where they are spent. No data and no weights.

python tools/analysis_tools/get_flops.py configs/cen_*_nyudv2.py
python tools/analysis_tools/get_flops.py configs/cen_refinenet_r101_nyudv2.py --shape 480 640 --cfg-options ...

GMACs are 10^9 multiply-adds of convolutions, matrix products and attention, for one image of every modality; GFLOPs
are twice as many, and the last columns split them. Auxiliary heads and discriminators only train: neither their
parameters nor their operations are counted.
"""

import argparse
import warnings
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict, DictAction
from mmengine.logging import MMLogger
from mmengine.registry import MODELS, init_default_scope
from prettytable import PrettyTable
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import cen_mm  # noqa: F401  patches the stack and registers the scope

TRAINS_ONLY = ('auxiliary_head', 'discriminators')


def build(cfg: Config) -> nn.Module:
    """The config's model in eval mode, with random weights."""
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    backbone = cfg.model.get('backbone', {})
    for part in (backbone, backbone.get('backbone')):
        if isinstance(part, ConfigDict) and part.get('pretrained') is True:
            part.pretrained = False  # timm's models would download their weights here
    return MODELS.build(cfg.model).eval()


def count(model: nn.Module, shape: tuple[int, ...]) -> tuple[int, dict[str, int]]:
    """What one forward pass costs.

    Args:
        model: on the meta device.
        shape: of its input, ``(1, 3M, H, W)``.

    Returns:
        The parameters, and the operations of every part (two a multiply-add), by its name.
    """
    warnings.filterwarnings('ignore', 'mods argument')  # torch 2.1 counts by module only with it
    with torch.no_grad(), FlopCounterMode(model, display=False) as counter:
        model(torch.empty(shape, device='meta'))
    counts = counter.get_flop_counts()

    def of(module: nn.Module, name: str) -> int:
        if name in counts:
            return sum(counts[name].values())
        return sum(of(child, f'{name}.{child_name}') for child_name, child in module.named_children())  # lists

    parts = {name: of(part, f'{type(model).__name__}.{name}') for name, part in model.named_children()}
    missing = counter.get_total_flops() - sum(parts.values())
    parameters = sum(p.numel() for name, p in model.named_parameters() if not name.startswith(TRAINS_ONLY))
    return parameters, {name: n for name, n in {**parts, 'other': missing}.items() if n}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='+', metavar='config', help='config files, one row each')
    parser.add_argument(
        '--shape', type=int, nargs='+', help="height and width, or one side (480 640; in translation the config's)"
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='overrides of every config: key=value')
    args = parser.parse_args()
    MMLogger.get_instance('get_flops', log_level='ERROR')
    rows = {}
    for path in args.configs:
        cfg = Config.fromfile(path)
        cfg.merge_from_dict(args.cfg_options or {})
        size = args.shape or (cfg.crop_size if cfg.get('default_scope') == 'mmagic' else (480, 640))
        if len(size) > 2:
            raise SystemExit(f'--shape has {len(size)} numbers: give height and width, or one side.')
        model = build(cfg).to('meta')  # a tensor there has a shape and no values
        modalities = len(getattr(model, 'modalities', ['image']))  # an ordinary model of mmseg has one
        parameters, parts = count(model, (1, 3 * modalities, size[0], size[-1]))
        rows[path] = (f'{modalities} x {size[0]}x{size[-1]}', parameters, parts)
    names = list(dict.fromkeys(name for _, _, parts in rows.values() for name in parts))
    table = PrettyTable(['config', 'input', 'parameters (M)', 'GMACs', 'GFLOPs', *names], align='r')
    table.align['config'] = 'l'
    for path, (size, parameters, parts) in rows.items():
        total = sum(parts.values()) / 1e9
        of_parts = [f'{parts[part] / 1e9:.1f}' if part in parts else '' for part in names]
        numbers = [f'{number:.1f}' for number in (parameters / 1e6, total / 2, total)]
        table.add_row([Path(path).name, size, *numbers, *of_parts])
    print(table)


if __name__ == '__main__':
    main()
