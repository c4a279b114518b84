"""The console shows warnings, messages of the user's own code, and one line per epoch; the log file shows all."""

import logging
from pathlib import Path

import mmengine
import pytest

import cen_mm
from cen_mm.engine import format_scores
from cen_mm.engine.console import is_for_console

RUNNER = str(Path(mmengine.__file__).with_name('runner') / 'runner.py')
EARLY_STOPPING = str(Path(mmengine.__file__).with_name('hooks') / 'early_stopping_hook.py')
OURS = str(Path(cen_mm.__file__).with_name('engine') / 'stage_lr.py')


@pytest.mark.parametrize(
    ('level', 'path', 'message', 'shown'),
    [
        (logging.INFO, RUNNER, 'Config:\nmodel = dict()', False),
        (logging.INFO, OURS, 'Parameter group', False),
        (logging.INFO, EARLY_STOPPING, 'the monitored metric did not improve', True),
        (logging.INFO, '/home/user/my_hook.py', 'my message', True),
        (logging.WARNING, RUNNER, 'a key is unexpected', True),
        (logging.WARNING, RUNNER, '"FileClient" will be deprecated in future.', False),
    ],
)
def test_selection_of_records(level, path, message, shown):
    assert is_for_console(logging.LogRecord('mmengine', level, path, 1, message, (), None)) == shown


def test_a_message_can_ask_for_the_console():
    record = logging.LogRecord('mmengine', logging.INFO, OURS, 1, 'a table', (), None)
    record.console = True  # as logger.info(.., extra=dict(console=True)) does
    assert is_for_console(record)


def test_table_of_scores():
    scores = {'rgb/mIoU': 1.5, 'depth/mIoU': 2.25, 'mIoU': 30.0, 'time': 0.1}
    lines = [line.replace(' ', '') for line in format_scores(scores).splitlines()]
    assert lines[:1] + lines[2:] == ['|branch|mIoU|', '|rgb|1.500|', '|depth|2.250|', '|ensemble|30.00|']
    assert set(lines[1]) == {'+', '-'}


def test_scores_of_several_metrics():
    branches = {'mIoU': 1.0, 'rgb/mIoU': 2.0}
    others = {'boundary/mFscore': 3.0, 'f/mIoU': 4.0, 'f/mDice': 5.0}
    assert format_scores({**branches, **others}).splitlines()[2:] == [
        '|   rgb    | 2.000 |', '|    f     | 4.000 |', '| ensemble | 1.000 |',
        'boundary/mFscore: 3.0', 'f/mDice: 5.0',
    ]  # fmt: skip
    (line,) = format_scores({'val/mIoU': 1.0, 'val/rgb/mIoU': 2.0}).splitlines()[2:]
    assert line.replace(' ', '') == '|ensemble|1.000|2.000|'
    assert 'mIoU' not in format_scores({})
