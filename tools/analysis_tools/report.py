"""Writes a page about runs of segmentation or translation: one HTML file that contains everything it shows.

python tools/analysis_tools/report.py work_dirs/cen_refinenet_r18_rooms
python tools/analysis_tools/report.py work_dirs/a work_dirs/b --out comparison.html

It shows what tools/train.py and the last tools/test.py left in each work directory: scores of all branches and
classes, curves, exchange, confusion matrix, best and worst samples, settings, versions and commands.
"""

import argparse
import base64
import math
from pathlib import Path
from typing import Iterator, Optional

import cv2
import numpy as np
from jinja2 import Environment, FileSystemLoader  # torch requires jinja2
from run_results import NO_SCORES, TITLES, RunResults, settings

from cen_mm.engine import score_rows
from cen_mm.exchange import ENSEMBLE

MAX_POINTS = 500  # of a curve
MAX_COLUMNS = 60  # of the heat maps over the iterations
MAX_WIDTH = 1000  # of a picture, in pixels
NUM_SAMPLES = 4  # best samples, and as many worst samples
NUM_CONFUSIONS = 8  # pairs of classes in the list of confusions


def curves(runs: list[RunResults]) -> Iterator[dict]:
    """Yields one chart for losses, each score, the shares of channels below the threshold, and the learning rate."""
    keys = list(dict.fromkeys(key for run in runs for row in run.rows for key in row))
    validated = {key for run in runs for row in run.validations for key in row}
    panels = {'losses': {key: key for key in keys if 'loss' in key}}
    for key in keys:
        if key in validated and key not in NO_SCORES:
            branch, _, score = f'/{key}'.rpartition('/')
            panels.setdefault(TITLES.get(score, score), {})[key] = branch[1:] or ENSEMBLE
    shares = {key: key.split('/')[1] for key in keys if key.startswith('exchange/') and key.count('/') == 1}
    panels['channels below the threshold, from 0 to 1'] = shares
    panels['learning rate'] = {key: key for key in keys if key.split('.')[-1] in ('lr', 'base_lr')}
    for title, labels in panels.items():
        series = [
            dict(
                name=label,
                run=run.name if len(runs) > 1 else '',
                color=color,
                dash=dash,
                hidden=len(runs) > 1 and title == 'losses' and key not in ('loss', 'loss_gen'),
                points=points(run.rows, key),
            )
            for dash, run in enumerate(runs)
            for color, (key, label) in enumerate(labels.items())
            if any(key in row for row in run.rows)
        ]
        if series:
            yield dict(kind='lines', title=title, log=title == 'losses', series=series)


def points(rows: list[dict], key: str) -> list[tuple[int, float]]:
    """Returns the steps and finite values of a curve, thinned out evenly from its last point."""
    found = [(row['step'], row[key]) for row in rows if key in row and math.isfinite(row[key])]
    return found[:: -max(len(found) // MAX_POINTS, 1)][::-1]


def exchange_maps(run: RunResults) -> Iterator[dict]:
    """Yields one chart per modality: share of the channels below the threshold, layers over iterations."""
    rows = [row for row in run.exchange_rows if row.keys() >= run.exchange_rows[-1].keys()]  # of the same layers
    rows = [rows[i] for i in np.unique(np.linspace(0, len(rows) - 1, min(len(rows), MAX_COLUMNS)).astype(int))]
    for modality in run.exchange:
        keys = [key for key in rows[-1] if key.count('/') > 1 and key.split('/')[-1] == modality]
        layers = [key.split('/')[1] for key in keys]
        while all('.' in layer for layer in layers) and len({layer.split('.')[0] for layer in layers}) == 1:
            layers = [layer.partition('.')[2] for layer in layers]
        yield dict(
            kind='heat',
            title=modality,
            rows=layers,
            columns=[f'iteration {row["step"]}' for row in rows],
            ends=[rows[0]['step'], rows[-1]['step']],
            values=[[100 * row[key] for row in rows] for key in keys],
        )


def confusion_map(run: RunResults) -> Optional[dict]:
    """Chart of the confusion matrix in percent of the labels, with its largest entries beside the diagonal."""
    if 'confusion' not in run.details:
        return None
    classes, matrix = run.details['classes'], np.array(run.details['confusion'])
    values = 100 * matrix / matrix.sum(1, keepdims=True).clip(1)
    wrong = [(values[i, j], classes[i], classes[j]) for i, j in zip(*np.nonzero(matrix)) if i != j]
    return dict(
        kind='heat',
        square=True,
        title='rows: label, columns: prediction of the ensemble',
        rows=classes,
        columns=classes,
        values=values.tolist(),
        counts=matrix.tolist(),
        largest=sorted(wrong, reverse=True)[:NUM_CONFUSIONS],
    )


def class_bars(run: RunResults) -> list[tuple[str, list[tuple[str, float]]]]:
    """Returns for each class its name and the score of every branch: IoU, or the first score of the metric."""
    by_class = run.details.get('by_class', {})
    key = next(iter(by_class.get(ENSEMBLE, {})), None)
    return [
        (name, [(branch, scores[key][i]) for branch, scores in by_class.items()])
        for i, name in enumerate(run.details.get('classes', []))
    ]


def compare_settings(runs: list[RunResults]) -> list[tuple[str, list[tuple[str, Optional[str]]]]]:
    """Lists the settings that differ from the base configs or between the runs.

    Returns:
        For each setting its name, and for each run its value and, if it differs, the value in the base configs.
    """
    own = [settings(run.config) for run in runs]
    bases = [run.base_settings() for run in runs]
    bases = [mine if base is None else base for mine, base in zip(own, bases)]
    rows = []
    for key in sorted({key for values in (*own, *bases) for key in values}):
        values = [mine.get(key, 'not set') for mine in own]
        base_values = [base.get(key, 'not set') for base in bases]
        if values != base_values or len(set(values)) > 1:
            rows.append((key, [(a, None if a == b else b) for a, b in zip(values, base_values)]))
    return rows


def embed(path: Path) -> str:
    """Returns a picture as a data URI, reduced to at most ``MAX_WIDTH``."""
    picture = cv2.imread(str(path))
    factor = min(1, MAX_WIDTH / picture.shape[1])
    picture = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    data = cv2.imencode('.webp', picture, [cv2.IMWRITE_WEBP_QUALITY, 90])[1]
    return f'data:image/webp;base64,{base64.b64encode(data).decode()}'


def write_page(runs: list[RunResults], out: Path) -> None:
    """Writes the page."""
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    environment.filters['embed'] = embed
    tables = {}
    for run in runs:
        columns, rows = score_rows(run.scores)
        tables.setdefault(tuple(columns), []).append((run, rows))
    page = environment.get_template('report.html').render(
        runs=runs,
        tables=tables,
        curves=list(curves(runs)),
        exchange={run.name: list(exchange_maps(run)) for run in runs if run.exchange},
        bars={run.name: bars for run in runs if (bars := class_bars(run))},
        confusion={run.name: chart for run in runs if (chart := confusion_map(run))},
        samples={run.name: run.best_and_worst(NUM_SAMPLES) for run in runs if run.details.get('samples', [])[1:]},
        settings=compare_settings(runs),
        versions=list(dict.fromkeys(name for run in runs for name in run.run.get('versions', {}))),
        ensemble=ENSEMBLE,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page, encoding='utf-8')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('work_dirs', nargs='+', type=Path, help='work directories of tools/train.py and tools/test.py')
    parser.add_argument('--out', type=Path, help='HTML file to write (default: report.html in the first work dir)')
    args = parser.parse_args()
    runs = [RunResults(work_dir) for work_dir in args.work_dirs]
    if len({run.name for run in runs}) < len(runs):
        for run in runs:
            run.name = str(run.work_dir)
    out = args.out or args.work_dirs[0] / 'report.html'
    write_page(runs, out)
    for run in runs:
        print(f'{run.name}: {run.summary()}')
    print(f'page: {out}')


if __name__ == '__main__':
    main()
