"""Plots all learning rates of a config over the epochs. It needs no data and no weights.

python tools/analysis_tools/plot_schedule.py configs/cen_refinenet_r101_nyudv2.py schedule.png
"""

import argparse
from collections import Counter
from pathlib import Path

from matplotlib.figure import Figure
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, PARAM_SCHEDULERS, init_default_scope

from cen_mm import config_argument
from cen_mm.engine.optim import all_wrappers
from cen_mm.engine.preflight.config import param_schedulers


def learning_rates(cfg: Config, epoch_length: int) -> dict[str, list[float]]:
    """Computes the learning rate of each iteration, for each set of parameters with equal learning rates.

    Args:
        cfg: config with `model`, `optim_wrapper`, `param_scheduler` and `train_cfg`.
        epoch_length: iterations per epoch.

    Returns:
        One curve per set. Its key lists the first part of the parameters' names and the number of parameter tensors.
    """
    model = MODELS.build(cfg.model)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    names = {id(parameter): name.split('.')[0] for name, parameter in model.named_parameters()}
    schedulers, groups = [], []
    for network, optimizer in all_wrappers(wrapper).items():  # GANs have several
        groups += optimizer.param_groups
        configs = cfg.param_scheduler
        by_network = isinstance(configs, dict) and 'type' not in configs
        for _, config in param_schedulers(configs.get(network) if by_network else configs):
            config, kind = dict(config), PARAM_SCHEDULERS.get(config['type'])
            config.pop('type')
            if config.pop('convert_to_iter_based', False):
                schedulers.append(kind.build_iter_from_epoch(optimizer, **config, epoch_length=epoch_length))
            else:
                schedulers.append(kind(optimizer, **config))
    curves = [[] for _ in groups]
    max_iters = cfg.train_cfg.get('max_iters')
    for _ in range(1 if max_iters else cfg.train_cfg.max_epochs):
        for _ in range(max_iters or epoch_length):
            for curve, group in zip(curves, groups):
                curve.append(group['lr'])
            for scheduler in schedulers:
                if not scheduler.by_epoch:
                    scheduler.step()
        for scheduler in schedulers:
            if scheduler.by_epoch:
                scheduler.step()
    shared = {}
    for curve, group in zip(curves, groups):
        model_names = [names[id(parameter)] for parameter in group['params'] if id(parameter) in names]
        if model_names:  # mmengine adds an extra group to log the base learning rate
            shared.setdefault(tuple(curve), Counter()).update(model_names)
    return {', '.join(f'{name} ({n})' for name, n in counts.items()): list(curve) for curve, counts in shared.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=config_argument, help='config file')
    parser.add_argument('out', help='PNG file to write')
    parser.add_argument(
        '--epoch-length', type=int, default=132, help='iterations per epoch (default: 132 = 795 // 6, for NYUDv2)'
    )
    args = parser.parse_args()
    MMLogger.get_instance('plot_schedule', log_level='ERROR')  # mmengine logs the options of every parameter
    cfg = Config.fromfile(args.config)
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    figure = Figure(figsize=(9, 5), layout='constrained')
    axis = figure.subplots()
    for label, curve in learning_rates(cfg, args.epoch_length).items():
        axis.plot([i / args.epoch_length for i in range(len(curve))], curve, label=label)
        print(f'{label}: {curve[0]:g} to {curve[-1]:g}, between {min(curve):g} and {max(curve):g}')
    axis.set(xlabel='epoch', ylabel='learning rate', yscale='log', title=args.config)
    axis.legend()
    axis.grid(alpha=0.3)
    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out, dpi=100)
    print(args.out)


if __name__ == '__main__':
    main()
