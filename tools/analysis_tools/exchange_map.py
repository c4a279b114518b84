"""Shows which channels a trained model replaces, and how far the scales are from the threshold.

python tools/analysis_tools/exchange_map.py CHECKPOINT
python tools/analysis_tools/exchange_map.py CONFIG CHECKPOINT --image 0 --layer layer2.1.bn1

Without CONFIG, the config beside the checkpoint is used, where tools/train.py writes it. These files are written:

- channels.csv: scale of each channel, and whether it is replaced
- channels.png: the replaced channels of each layer and modality
- scales.png: histograms of the scales of each layer, with the threshold
- with --image, image_INDEX_LAYER.png: one sample of the test data set. It has one row per branch. Its columns are the
  input; some channels of the layer before the exchange; the same channels after it, with a red frame around each
  replaced channel; the output. The last row has the target and the output of the ensemble. As far as possible, the
  replaced channels are spread evenly over the modalities.
"""

import argparse
import csv
from pathlib import Path
from typing import Any, Optional

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mmengine.config import Config, DictAction
from mmengine.dataset import BaseDataset, pseudo_collate
from mmengine.registry import DATASETS
from prettytable import PrettyTable
from torch import Tensor, nn

from cen_mm import config_argument
from cen_mm.apis import draw_inputs, draw_target, init_model, to_arrays
from cen_mm.engine import set_up_process
from cen_mm.exchange import ENSEMBLE, ExchangeNorm, exchanging_norms


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'config', nargs='?', type=config_argument, help='config file (default: the one beside the checkpoint)'
    )
    parser.add_argument('checkpoint', type=Path, help='checkpoint file')
    parser.add_argument('--out-dir', type=Path, help='output folder (default: exchange_map beside the checkpoint)')
    parser.add_argument('--image', type=int, metavar='INDEX', help='also draw the features of this test sample')
    parser.add_argument(
        '--layer',
        help='for --image: end of the name of the exchanging norm (default: the middle one that replaces channels)',
    )
    parser.add_argument('--channels', type=int, default=8, help='for --image: number of channels to draw (default: 8)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='settings to override: key=value')
    return parser.parse_args()


def read_config(args: argparse.Namespace) -> Config:
    """Reads the config file, by default the one beside the checkpoint, as a config in a checkpoint could run any code.

    Raises:
        SystemExit: if there is no such checkpoint, or not one config.
    """
    if not args.checkpoint.is_file():
        raise SystemExit(f'The checkpoint {args.checkpoint} does not exist: give the path of a .pth file.')
    configs = [args.config] if args.config else sorted(args.checkpoint.parent.glob('*.py'))
    if len(configs) != 1:
        raise SystemExit(
            f'{len(configs)} config files are beside {args.checkpoint}: give the config file before the checkpoint.'
        )
    cfg = Config.fromfile(configs[0])
    cfg.merge_from_dict(args.cfg_options or {})
    if cfg.model.get('test_cfg'):
        cfg.model.test_cfg.mode = 'whole'  # one forward pass per image, whose features are drawn
    return cfg


def write_table(norms: dict[str, ExchangeNorm], path: Path) -> PrettyTable:
    """Writes one line per channel and modality; returns the number and share of replaced channels per layer."""
    modalities = next(iter(norms.values())).modalities
    table = PrettyTable(['layer', 'channels', 'threshold', *modalities, 'in every modality'], align='r')
    table.align['layer'] = 'l'
    counts = []  # channels, replaced in each modality, replaced in all
    with path.open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['layer', 'channel', 'modality', 'scale', 'threshold', 'replaced'])
        for layer, norm in norms.items():
            for scales, mask, modality in zip(norm.scales.tolist(), norm.replaced.tolist(), modalities):
                rows = enumerate(zip(scales, mask))
                writer.writerows([layer, c, modality, scale, norm.threshold, int(is_in)] for c, (scale, is_in) in rows)
            counts.append([norm.replaced.shape[1], *norm.replaced.sum(1).tolist(), norm.replaced.all(0).sum().item()])
            table.add_row([layer, counts[-1][0], norm.threshold, *_shares(counts[-1])])
    total = np.sum(counts, axis=0).tolist()
    table.add_row(['all', total[0], '', *_shares(total)])
    return table


def _shares(counts: list[int]) -> list[str]:
    return [f'{count} ({count / counts[0]:.1%})' for count in counts[1:]]


def draw_map(norms: dict[str, ExchangeNorm], path: Path) -> None:
    """Draws one line per layer and modality, with a mark at each replaced channel."""
    modalities = next(iter(norms.values())).modalities
    height = 0.8 / len(modalities)
    figure = Figure((10, 1.5 + 0.12 * len(norms) * (len(modalities) + 1)), layout='constrained')
    axis = figure.subplots()
    for y, norm in enumerate(norms.values()):
        for m, mask in enumerate(norm.replaced):
            position = (y - 0.4 + m * height, height)
            axis.broken_barh([(0, 1)], position, color='#e8e8e8')
            axis.broken_barh(
                [(c / len(mask), 1 / len(mask)) for c in mask.nonzero().flatten()], position, color=f'C{m}'
            )
    axis.set_yticks(
        range(len(norms)), [f'{name} ({norm.replaced.shape[1]})' for name, norm in norms.items()], fontsize=8
    )
    axis.set(xlim=(0, 1), ylim=(len(norms) - 0.5, -0.5), xlabel='channels of the layer, from the first to the last')
    axis.xaxis.set_major_formatter('{x:.0%}')
    handles = [
        axis.plot([], [], color=f'C{m}', linewidth=6, label=f'{name}: replaced')[0]
        for m, name in enumerate(modalities)
    ]
    figure.legend(handles=handles, loc='outside upper center', ncols=len(handles))
    figure.savefig(path, dpi=100)


def draw_histograms(norms: dict[str, ExchangeNorm], path: Path) -> None:
    """Draws histograms of the absolute scales of each layer. The logarithmic axes start at 1 % of the threshold."""
    modalities = next(iter(norms.values())).modalities
    rows = -(-len(norms) // 4)
    figure = Figure((12, 0.8 + 1.8 * rows), layout='constrained')
    axes = figure.subplots(rows, 4, squeeze=False, sharex=True).flat
    highest = max(norm.scales.abs().max().item() for norm in norms.values())
    for (name, norm), axis in zip(norms.items(), axes):  # in this order, zip takes no axis too many
        bins = np.geomspace((norm.threshold or 0.01) / 100, max(highest, norm.threshold) * 1.01, 40)
        for m, scales in enumerate(norm.scales.detach().abs().double().numpy()):
            axis.hist(np.maximum(scales, bins[0]), bins, color=f'C{m}', alpha=0.5, label=modalities[m])
        axis.axvline(norm.threshold, color='black', linestyle='--', linewidth=1, label='threshold')
        axis.set_xscale('log')
        axis.set_title(name, fontsize=8)
        axis.tick_params(labelsize=8)
    handles, labels = axis.get_legend_handles_labels()
    for axis in axes:  # the rest of the last row
        axis.set_axis_off()
    figure.legend(handles, labels, loc='outside upper center', ncols=len(handles))
    figure.supxlabel('absolute scale; the first bar contains all smaller scales', fontsize=9)
    figure.supylabel('channels', fontsize=9)
    figure.savefig(path, dpi=100)


def find_layer(norms: dict[str, ExchangeNorm], name: Optional[str]) -> str:
    """Returns the full name of the exchanging norm whose name ends in ``name``.

    Without ``name``, this is the middle one of those that replace channels.

    Raises:
        SystemExit: if no norm or more than one norm has such a name.
    """
    if name is None:
        found = [key for key, norm in norms.items() if norm.replaced.any()] or list(norms)
        return found[len(found) // 2]
    found = [key for key in norms if f'.{key}'.endswith(f'.{name}')]
    if len(found) != 1:
        raise SystemExit(
            f'--layer {name} matches {len(found)} exchanging norms: use the name of one of {", ".join(norms)}.'
        )
    return found[0]


def choose_channels(replaced: Tensor, number: int) -> list[int]:
    """Chooses channels from ``(M, C)`` such that the replaced ones are spread over the modalities."""
    share = -(-number // len(replaced))
    chosen = [index for row in replaced for index in row.nonzero().flatten().tolist()[:share]]
    others = [index for index in range(replaced.shape[1]) if index not in chosen]
    return list(dict.fromkeys([*chosen, *others]))[:number]


def run(model: nn.Module, norm: ExchangeNorm, data: dict) -> tuple[Tensor, Tensor, Any]:
    """Runs the model on one sample.

    Returns:
        Features before and after the exchange, each ``(M, C, h, w)``, and the sample with its predictions.
    """
    features = []
    hook = norm.register_forward_hook(lambda module, inputs, output: features.append(output))
    threshold = norm.threshold
    with torch.no_grad():
        norm.threshold = 0  # nothing is below: the features before the exchange
        model.test_step(data)
        norm.threshold = threshold
        (sample,) = model.test_step(data)
    hook.remove()
    return *features, sample


def pictures_of(sample: Any, inputs: Any, dataset: BaseDataset) -> tuple[dict, dict, Optional[np.ndarray]]:
    """Returns the pictures ``(H, W, 3)`` of the inputs by modality, of the outputs by branch, and of the target.

    The target is None if the data set has none.
    """
    images, outputs, target = draw_inputs(inputs, list(sample.modalities)), to_arrays(sample), draw_target(sample)
    if 'branches' in sample:
        return images, outputs, target
    palette = np.vstack([dataset.metainfo['palette'], np.zeros((256, 3))]).astype(np.uint8)
    outputs = {name: palette[classes] for name, classes in outputs.items()}
    return images, outputs, None if target is None else palette[target]


def draw_channels(axis: Axes, features: Tensor, limits: list[tuple], frames: list[bool]) -> None:
    """Draws channels ``(n, h, w)`` side by side in two rows, with a red frame around some of them."""
    axis.set_axis_off()
    rows, columns = 2, -(-len(features) // 2)
    for i, (feature, (low, high), framed) in enumerate(zip(features, limits, frames)):
        cell = axis.inset_axes([i % columns / columns, 1 - (i // columns + 1) / rows, 0.94 / columns, 0.9 / rows])
        cell.imshow(feature, cmap='gray', vmin=low, vmax=high, aspect='auto')
        cell.set(xticks=[], yticks=[])
        cell.spines[:].set(color='red' if framed else 'lightgray', linewidth=2 if framed else 0.5)


def draw_features(
    model: nn.Module, name: str, norm: ExchangeNorm, dataset: BaseDataset, index: int, number: int
) -> Figure:
    """Draws a sample with some channels of one layer before and after the exchange."""
    packed = dataset[index]
    before, after, sample = run(model, norm, pseudo_collate([packed]))
    inputs, outputs, target = pictures_of(sample, packed['inputs'], dataset)
    channels = choose_channels(norm.replaced, number)
    limits = [tuple(np.percentile(after[:, c], (1, 99))) for c in channels]
    figure = Figure((12, 2.2 * (len(inputs) + 1)), layout='constrained')
    figure.suptitle(f'channels {", ".join(map(str, channels))} of {name}')
    axes = figure.subplots(len(inputs) + 1, 4, width_ratios=(1, 2, 2, 1), squeeze=False)
    for m, (modality, picture) in enumerate(inputs.items()):
        row, mask = axes[m], norm.replaced[m]
        row[0].imshow(picture)
        draw_channels(row[1], before[m, channels], limits, [False] * len(channels))
        draw_channels(row[2], after[m, channels], limits, mask[channels].tolist())
        if modality in outputs:
            row[3].imshow(outputs[modality])
            row[3].set_title(f'output: {modality}')
        row[0].set_title(f'input: {modality}')
        row[1].set_title('before the exchange')
        row[2].set_title(f'after the exchange ({mask.float().mean():.0%} of {len(mask)} channels replaced)')
    note = 'Red frame: the scale of the channel is below the threshold,\nso the other modalities replace it.'
    axes[-1, 1].text(1, 0.5, note, ha='center', va='center', fontsize=11, in_layout=False)
    if target is not None:
        axes[-1, 0].imshow(target)
        axes[-1, 0].set_title('target')
    axes[-1, 3].imshow(outputs[ENSEMBLE])
    axes[-1, 3].set_title(f'output: {ENSEMBLE}')
    for axis in axes.flat:
        axis.set_axis_off()
    return figure


def main() -> None:
    args = parse_args()
    set_up_process()
    cfg = read_config(args)
    model = init_model(cfg, args.checkpoint, device='cpu')
    norms = dict(exchanging_norms(model, with_unused=False))
    if not norms:
        raise SystemExit(
            f'The model of {args.config or args.checkpoint} exchanges no channels: there is nothing to show.'
        )
    out = args.out_dir or args.checkpoint.parent / 'exchange_map'
    layer = find_layer(norms, args.layer)
    out.mkdir(parents=True, exist_ok=True)
    print(write_table(norms, out / 'channels.csv'))
    draw_map(norms, out / 'channels.png')
    draw_histograms(norms, out / 'scales.png')
    print(f'{out}: channels.csv, channels.png, scales.png')
    if args.image is not None:
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
        if args.image not in range(len(dataset)):
            raise SystemExit(f'--image {args.image}: the test data set has {len(dataset)} samples, from 0 on.')
        path = out / f'image_{args.image}_{layer}.png'
        draw_features(model, layer, norms[layer], dataset, args.image, args.channels).savefig(path, dpi=80)
        print(path)


if __name__ == '__main__':
    main()
