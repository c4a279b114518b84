"""Draws how a segmentation model exchanges channels: inputs, channels of a layer before and after, and predictions.

python tools/analysis_tools/draw_exchange.py CONFIG CHECKPOINT exchange.png --layer layer2.1.bn1 --index 0

The image has one row per branch. Its columns are: the input; some channels of the layer before the exchange; the same
channels after it, with a red frame around each replaced channel; the prediction. The label and the prediction of the
ensemble are in the last row. As far as possible, the replaced channels are spread evenly over the modalities.
"""

import argparse
from pathlib import Path
from typing import Optional

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mmengine.config import Config, DictAction
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, init_default_scope
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from cen_mm.apis import init_model
from cen_mm.engine import set_up_process
from cen_mm.exchange import ENSEMBLE, ExchangeNorm, exchanging_norms
from cen_mm.segmentation.visualizer import to_picture


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file of a segmentation model')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('out', type=Path, help='PNG file to write')
    parser.add_argument('--layer', help='end of the name of the exchanging norm (default: the middle one of all)')
    parser.add_argument('--index', type=int, default=0, help='index of the image in the test data set (default: 0)')
    parser.add_argument('--channels', type=int, default=8, help='number of channels to draw (default: 8)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='settings to override: key=value')
    return parser.parse_args()


def find_layer(model: nn.Module, name: Optional[str]) -> tuple[str, ExchangeNorm]:
    """Returns the exchanging norm whose name ends in ``name``; without a name, the middle one.

    Raises:
        SystemExit: if no norm or more than one norm has such a name.
    """
    norms = list(exchanging_norms(model))
    if name is None:
        found = norms[len(norms) // 2 :][:1]
    else:
        found = [(key, norm) for key, norm in norms if f'.{key}'.endswith(f'.{name}')]
    if len(found) != 1:
        raise SystemExit(
            f'--layer {name} matches {len(found)} exchanging norms: use the name of one of '
            f'{", ".join(key for key, _ in norms) or "none, since the model exchanges nothing"}.'
        )
    return found[0]


def choose_channels(replaced: Tensor, number: int) -> list[int]:
    """Chooses channels from ``(M, C)`` such that the replaced ones are spread over the modalities."""
    share = -(-number // len(replaced))
    chosen = [index for row in replaced for index in row.nonzero().flatten().tolist()[:share]]
    others = [index for index in range(replaced.shape[1]) if index not in chosen]
    return list(dict.fromkeys([*chosen, *others]))[:number]


def run(model: nn.Module, norm: ExchangeNorm, data: dict) -> tuple[Tensor, Tensor, dict]:
    """Runs the model on one image.

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


def draw_channels(axis: Axes, features: Tensor, limits: list[tuple], frames: list[bool]) -> None:
    """Draws channels ``(n, h, w)`` side by side in two rows, with a red frame around some of them."""
    axis.set_axis_off()
    rows, columns = 2, -(-len(features) // 2)
    for i, (feature, (low, high), framed) in enumerate(zip(features, limits, frames)):
        cell = axis.inset_axes([i % columns / columns, 1 - (i // columns + 1) / rows, 0.94 / columns, 0.9 / rows])
        cell.imshow(feature, cmap='gray', vmin=low, vmax=high, aspect='auto')
        cell.set(xticks=[], yticks=[])
        cell.spines[:].set(color='red' if framed else 'lightgray', linewidth=2 if framed else 0.5)


def draw(
    sample: SegDataSample,
    inputs: dict[str, Tensor],
    before: Tensor,
    after: Tensor,
    replaced: Tensor,
    channels: list[int],
    meta: dict,
) -> Figure:
    """Draws the whole figure; inputs are ``(C, H, W)``, features ``(M, C, h, w)`` and ``replaced`` is ``(M, C)``."""
    names = sample.modalities
    figure = Figure((12, 2.2 * (len(names) + 1)), layout='constrained')
    axes = figure.subplots(len(names) + 1, 4, width_ratios=(1, 2, 2, 1), squeeze=False)
    palette = np.vstack([meta['palette'], np.zeros((256 - len(meta['palette']), 3))]).astype(np.uint8)
    limits = [tuple(np.percentile(after[:, c], (1, 99))) for c in channels]
    for m, (name, row) in enumerate(zip(names, axes)):
        row[0].imshow(to_picture(inputs[name], bgr=name == 'rgb'))
        draw_channels(row[1], before[m, channels], limits, [False] * len(channels))
        draw_channels(row[2], after[m, channels], limits, replaced[m, channels].tolist())
        row[3].imshow(palette[sample.pred_sem_seg.get(name)[0]])
        row[0].set_title(f'input: {name}')
        row[3].set_title(f'prediction: {name}')
        share = f'{replaced[m].float().mean():.0%} of {replaced.shape[1]} channels replaced'
        row[1].set_title('before the exchange')
        row[2].set_title(f'after the exchange ({share})')
    note = 'Red frame: the scale of the channel is below the threshold,\nso the other modalities replace it.'
    axes[-1, 1].text(1, 0.5, note, ha='center', va='center', fontsize=11, in_layout=False)
    axes[-1, 0].imshow(palette[sample.gt_sem_seg.data[0]])
    axes[-1, 0].set_title('label')
    axes[-1, 3].imshow(palette[sample.pred_sem_seg.data[0]])
    axes[-1, 3].set_title(f'prediction: {ENSEMBLE}')
    for axis in axes.flat:
        axis.set_axis_off()
    return figure


def main() -> None:
    args = parse_args()
    set_up_process()
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    model = init_model(cfg, args.checkpoint, device='cpu')
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    name, norm = find_layer(model, args.layer)
    packed = dataset[args.index]
    before, after, sample = run(model, norm, pseudo_collate([packed]))
    channels = choose_channels(norm.replaced, args.channels)
    figure = draw(sample, packed['inputs'], before, after, norm.replaced, channels, dataset.metainfo)
    figure.suptitle(f'channels {", ".join(map(str, channels))} of {name}')
    figure.savefig(args.out, dpi=80)
    print(f'{args.out}: image {sample.img_path}, layer {name}')


if __name__ == '__main__':
    main()
