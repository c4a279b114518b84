"""Writes a page about a run of segmentation or translation: scores of all branches, curves, exchange and images.

python tools/analysis_tools/report.py work_dirs/cen_refinenet_r18_rooms
"""

import argparse
import html
import json
import math
import os
from pathlib import Path

from matplotlib.figure import Figure
from prettytable import PrettyTable

# Scores that are plotted in a separate panel, and the titles of the panels.
CURVES = {
    'mIoU': 'mean IoU, %',
    'L1': 'L1',
    'FID': 'FID, 8-bit images',
    'FD-Lite0': 'FD-Lite0, 8-bit images',
}
MAX_IMAGES = 12


def read_scalars(work_dir: Path) -> list[dict]:
    """Reads the logs of all training runs in a work directory, in order.

    The log of a resumed run replaces the rows of earlier runs from its first iteration on.
    """
    rows = []
    for path in sorted(work_dir.glob('*/vis_data/scalars.json')):
        new = [json.loads(line) for line in path.read_text().splitlines()]
        first = min((row['step'] for row in new if any('loss' in key for key in row)), default=0)
        rows = [row for row in rows if row['step'] < first] + new if first else rows
    return rows


def read_test_scores(work_dir: Path) -> dict[str, float]:
    """Reads the scores of the last run of tools/test.py. The result is empty if there is none."""
    for path in sorted(work_dir.glob('*/*.json'), reverse=True):
        scores = json.loads(path.read_text())
        if any(key in scores for key in CURVES):
            return scores
    return {}


def format_table(scores: dict[str, float]) -> PrettyTable:
    """Formats the scores, with one row per branch."""
    branches = list(dict.fromkeys(key.split('/')[0] for key in scores if '/' in key))
    columns = [key for key in scores if any(f'{name}/{key}' in scores for name in branches)] or list(scores)
    table = PrettyTable(['branch', *columns])
    for name in (*branches, ''):
        table.add_row([name or 'ensemble', *(f'{scores[f"{name}/{key}".lstrip("/")]:.4g}' for key in columns)])
    return table


def draw_curves(rows: list[dict], path: Path) -> None:
    """Plots losses, scores, shares of channels below the threshold, and learning rates over the iterations."""
    keys = sorted({key for row in rows for key in row})
    layers = {key for key in keys if key.startswith('exchange/') and key.count('/') > 1}
    panels = {'losses': [key for key in keys if 'loss' in key]}
    for score, title in CURVES.items():
        panels[title] = [key for key in keys if key.split('/')[-1] == score]
    panels['channels below the threshold'] = [k for k in keys if k.startswith('exchange/') and k not in layers]
    panels['learning rate'] = [key for key in keys if key.split('.')[-1] in ('lr', 'base_lr')]
    panels = {title: keys for title, keys in panels.items() if keys}
    figure = Figure(figsize=(12, 4 * math.ceil(len(panels) / 2)), layout='constrained')
    for axis, (title, keys) in zip(figure.subplots(math.ceil(len(panels) / 2), 2, squeeze=False).flat, panels.items()):
        for key in keys:
            points = [(row['step'], row[key]) for row in rows if key in row]
            axis.plot(*zip(*points), label=f'ensemble/{key}' if key in CURVES else key, marker='.')
        axis.set(title=title, xlabel='iteration', yscale='log' if title == 'losses' else 'linear')
        axis.legend(fontsize=8)
    figure.savefig(path, dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('work_dir', type=Path, help='work directory of tools/train.py and tools/test.py')
    args = parser.parse_args()
    rows = read_scalars(args.work_dir)
    if not rows:
        raise SystemExit(f'{args.work_dir} has no */vis_data/scalars.json: give the work directory of a training run.')
    draw_curves(rows, args.work_dir / 'curves.png')
    scores = read_test_scores(args.work_dir)
    page = [f'<h1>{html.escape(args.work_dir.name)}</h1>']
    if scores:
        page.append(format_table(scores).get_html_string(attributes={'border': '1', 'cellpadding': '4'}))
    figures = [path for path in (args.work_dir / 'curves.png', args.work_dir / 'exchange.png') if path.exists()]
    patterns = ('*/vis_data/vis_image/test_*.png', 'images/**/*.png')
    images = sorted({path for pattern in patterns for path in args.work_dir.glob(pattern)})
    for path in (*figures, *images[:MAX_IMAGES]):
        page.append(f'<p><img src="{html.escape(os.path.relpath(path, args.work_dir))}" style="max-width:100%"></p>')
    report = args.work_dir / 'report.html'
    report.write_text('<!doctype html><meta charset="utf-8">\n' + '\n'.join(page) + '\n')
    if scores:
        print(format_table(scores))
    if images:
        print(f'images: {images[0].parent}')
    print(f'page:   {report}')


if __name__ == '__main__':
    main()
