"""Reading what tools/train.py and tools/test.py left in a work directory."""

import inspect
import json
import math
import os
import re
from datetime import datetime
from pathlib import Path
from typing import Any, Optional

from mmengine.config import Config
from mmengine.runner import Runner

from cen_mm import config_path
from cen_mm.exchange import ENSEMBLE

TITLES = {
    'mIoU': 'mean IoU, %',
    'mAcc': 'mean accuracy, %',
    'aAcc': 'pixel accuracy, %',
    'L1': 'L1',
    'RMSE': 'RMSE',
    'PSNR': 'PSNR, dB',
}
"""Titles of the scores; samples are sorted by the first of them that a run has."""
LOWER_IS_BETTER = ('L1', 'RMSE')
NO_SCORES = ('time', 'data_time', 'step')


class RunResults:
    """Settings, log, scores and pictures of the runs in one work directory.

    Args:
        work_dir: the work directory.

    Raises:
        SystemExit: if it contains neither the log of a training run nor the scores of a test.
    """

    def __init__(self, work_dir: Path):
        self.work_dir = work_dir
        self.name = work_dir.resolve().name
        self.rows = read_scalars(work_dir)
        self.test_dir = find_test(work_dir)
        self.test_scores = read_json(self.test_dir / f'{self.test_dir.name}.json')
        self.details = read_json(self.test_dir / 'details.json')
        if not self.rows and not self.test_scores:
            raise SystemExit(
                f'{work_dir} has neither */vis_data/scalars.json nor scores of a test: '
                'give the work directory of tools/train.py or tools/test.py.'
            )
        self.config = read_config(work_dir)
        self.run = self.config.get('run') or self.details.get('run', {})
        # The other rows are of training iterations and of the exchange hook.
        self.validations = [
            row for row in self.rows if not any(key == 'iter' or key.startswith('exchange/') for key in row)
        ]
        self.scores = self.test_scores or (self.validations or [{}])[-1]
        self.scores = {key: value for key, value in self.scores.items() if key not in NO_SCORES}
        self.main_score = next((key for key in TITLES if key in self.scores), '')

    @property
    def exchange_rows(self) -> list[dict]:
        """Rows of the log with the shares of the channels below the threshold."""
        return [row for row in self.rows if any(key.startswith('exchange/') for key in row)]

    @property
    def exchange(self) -> dict[str, float]:
        """Share of the channels below the threshold at the end of the training, by modality."""
        last = (self.exchange_rows or [{}])[-1]
        return {key.split('/')[1]: value for key, value in last.items() if key.count('/') == 1}

    def summary(self) -> str:
        """Says in one line how good the model is, how much it exchanges, and how it was trained."""
        parts = []
        if self.main_score:
            source = 'test' if self.test_scores else 'last validation'
            parts.append(f'{self.main_score} of the ensemble: {self.scores[self.main_score]:#.4g} ({source})')
        if self.exchange:
            shares = ', '.join(f'{name} {share:.1%}' for name, share in self.exchange.items())
            parts.append(f'channels below the threshold: {shares}')
        if self.rows:
            epochs = max((row['epoch'] for row in self.rows if 'epoch' in row), default=0)
            parts.append(f'{self.rows[-1]["step"]} iterations in {epochs} epochs, {self.training_minutes():.1f} min')
        return '; '.join(parts)

    def training_minutes(self) -> float:
        """Adds up the times between the first and the last line of the logs of the training runs."""
        seconds = 0.0
        for log in (
            log for path in self.work_dir.glob('*/vis_data/scalars.json') for log in path.parents[1].glob('*.log')
        ):
            lines = re.findall(r'^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d', log.read_text(encoding='utf-8'), re.MULTILINE)
            times = [datetime.strptime(line, '%Y/%m/%d %H:%M:%S') for line in lines]
            seconds += (times[-1] - times[0]).total_seconds() if times else 0
        return seconds / 60

    def commands(self) -> list[str]:
        """Returns the commands of the last training run and of the last test, as far as they are known."""
        commands = [run['command'] for run in (self.run, self.details.get('run')) if run]
        return list(dict.fromkeys(commands))

    def base_settings(self) -> Optional[dict[str, str]]:
        """Settings of the base configs of the config file. None: the file is unknown or not there anymore."""
        path = self.run.get('config', '')
        if not Path(path).is_file():
            return None
        bases = [Config._get_cfg_path(name, path)[0] for name in Config._get_base_files(path)]
        configs = [Config.fromfile(config_path(base), import_custom_modules=False) for base in bases]
        return settings({key: value for config in configs for key, value in config.items()})

    def best_and_worst(self, number: int) -> dict[str, list[dict]]:
        """Returns the best and the worst samples of the test: name, scores of the branches, path of the picture."""
        samples, key = self.details['samples'], self.main_score
        samples = [sample for sample in samples if math.isfinite(sample['scores'][ENSEMBLE][key])]
        samples.sort(key=lambda sample: sample['scores'][ENSEMBLE][key], reverse=key not in LOWER_IS_BETTER)
        root = os.path.commonpath([os.path.dirname(sample['name']) for sample in samples])
        number = min(number, len(samples) // 2)
        return {
            title: [
                dict(sample, name=os.path.relpath(sample['name'], root), picture=self.picture(sample['name']))
                for sample in group
            ]
            for title, group in dict(best=samples[:number], worst=samples[::-1][:number]).items()
        }

    def picture(self, sample: str) -> Optional[Path]:
        """Finds the picture that the test drew of a sample. None: there is none."""
        folders = [self.test_dir / 'results/strips']  # of a translation model without --show-dir
        if self.details['pictures']:
            shown = Path(self.details['pictures'])
            # The work directory may have been moved with the pictures in it.
            folders = [shown, self.work_dir / shown.parent.name / shown.name]
        for folder in folders:
            if found := [path for path in folder.rglob('*.png') if path.stem == Path(sample).stem]:
                # Samples in different folders can have the same name; their pictures are in folders of that name.
                return max(found, key=lambda path: len({*path.parts} & {*Path(sample).parts}))
        return None


def read_scalars(work_dir: Path) -> list[dict]:
    """Reads the logs of all training runs in a work directory, in order.

    The log of a resumed run replaces the rows of earlier runs from its first iteration on.
    """
    rows = []
    for path in sorted(work_dir.glob('*/vis_data/scalars.json')):
        new = [json.loads(line) for line in path.read_text().splitlines()]
        first = min((row['step'] for row in new if any('loss' in key for key in row)), default=math.inf)
        rows = [row for row in rows if row['step'] < first] + new  # without a loss: a repeated validation
    return rows


def find_test(work_dir: Path) -> Path:
    """Returns the folder of the last run of tools/test.py; the work directory if there is none."""
    folders = [path.parent for path in work_dir.glob('*/*.json') if path.stem == path.parent.name]
    return max(folders, default=work_dir)


def read_json(path: Path) -> dict:
    """Reads a JSON file. A missing file is empty."""
    return json.loads(path.read_text(encoding='utf-8')) if path.exists() else {}


def read_config(work_dir: Path) -> Config:
    """Reads the config of the last training run; without one, the config that the last test wrote."""
    trained = [path.with_name('config.py') for path in sorted(work_dir.glob('*/vis_data/scalars.json'))]
    paths = [path for path in (*work_dir.glob('*.py'), *trained) if path.exists()]
    return Config.fromfile(paths[-1], import_custom_modules=False) if paths else Config()


def settings(config: Any, prefix: str = '') -> dict[str, str]:
    """Flattens the settings of mmengine's runner in a config to ``{'model.backbone.depth': '18'}``.

    Other variables of the config are left out, because the settings of the runner were made from them.
    """
    if not prefix:
        known = inspect.signature(Runner).parameters.keys() - {'work_dir', 'launcher'}
        config = {key: value for key, value in config.items() if key in known}
    flat = {}
    for key, value in config.items() if isinstance(config, dict) else enumerate(config):
        is_nested = isinstance(value, dict) or (isinstance(value, list) and any(isinstance(x, dict) for x in value))
        flat.update(settings(value, f'{prefix}{key}.') if is_nested else {f'{prefix}{key}': repr(value)})
    return flat
