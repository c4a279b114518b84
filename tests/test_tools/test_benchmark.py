"""Tests of the benchmarks."""

import importlib.util
import json
import re
import sys
from pathlib import Path
from statistics import median
from types import SimpleNamespace

import cv2
import pytest
import torch
from mmengine.utils import digit_version

ROOT = Path(__file__).parents[2]
OTHER = """
import torch
def make(size, batch, train, device, {arguments}):
    model = torch.nn.Conv2d(3, 8, 3).to(device)
    x = torch.randn(batch, 3, *size, device=device)
    return lambda: model(x).sum().backward() if train else model(x)
"""
SEGMENTATION = (
    'cen_refinenet_r18_rooms.py', 'depth, classes, modalities', [64, 96],
    ['model.backbone.base_channels=16', 'model.neck.in_channels=[16,32,64,128]', 'model.neck.channels=16',
     'model.neck.top_channels=16', 'model.decode_head.in_channels=16'],
)  # fmt: skip
TRANSLATION = ('cen_unet_shade-texture2rgb_rooms.py', 'base, modalities=3', [128, 128], [])
counts_operations = pytest.mark.skipif(
    digit_version(torch.__version__) < digit_version('2.6'), reason='torch < 2.6 does not count all operations'
)


@counts_operations
@pytest.mark.parametrize(('config', 'arguments', 'shape', 'options'), [SEGMENTATION, TRANSLATION])
def test_benchmark_writes_json_and_table(run_tool, tmp_path, config, arguments, shape, options):
    if 'unet' in config and not importlib.util.find_spec('mmagic'):
        pytest.skip('translation requires mmagic')
    (tmp_path / 'other.py').write_text(OTHER.format(arguments=arguments))
    out, name = tmp_path / 'out.json', f'{tmp_path}/other.py:make'
    log = run_tool(
        'benchmarks/benchmark.py', ROOT / 'configs' / config, '--device', 'cpu', '--shape', *shape, '--batch', 2,
        '--runs', 3, '--precision', 'bfloat16', '--compare', name, '--out', out,
        *(['--cfg-options', *options] if options else []),
        own_process='unet' not in config,
    )  # fmt: skip
    result = json.loads(out.read_text())
    settings = [result[key] for key in ('shape', 'batch', 'precision', 'compile', 'device')]
    assert settings == [shape, 2, 'bfloat16', None, 'cpu']
    assert result['product'] > 0
    for mode in ('inference', 'training'):
        ours, other, plain = (result[mode][key] for key in ('cen_mm', name, f'{name}, float32'))
        for row in (ours, other, plain):
            assert len(row['runs']) == 3
            assert row['seconds'] == median(row['runs']) > 0
            assert row['images_per_second'] == pytest.approx(2 / row['seconds'])
            assert row['peak_memory'] > 0
        assert other['seconds_ratio'] == pytest.approx(other['seconds'] / ours['seconds'])
        share = ours['flops'] / ours['seconds'] / result['product']
        assert ours['product_share'] == pytest.approx(share)
    assert (
        2 < result['training']['cen_mm']['flops'] / result['inference']['cen_mm']['flops'] < 9
    )  # a GAN also trains a discriminator
    evaluation = result['evaluation']
    seconds = result['inference']['cen_mm']['seconds']
    assert evaluation['share_of_inference'] == pytest.approx(evaluation['seconds'] / seconds)
    assert 'other.py:make' in log


@counts_operations
def test_invalid_arguments_raise_clear_errors(run_tool, tmp_path):
    config = ROOT / 'configs' / SEGMENTATION[0]
    (tmp_path / 'other.py').write_text(OTHER.format(arguments='color'))
    for name, message in (
        ('none.py:make', 'none.py is not a file. Give PATH.py:NAME.'),
        ('other.py:made', "other.py has no 'made'. Give the name of a function in it."),
        ('other.py:make', "requires the unknown arguments ['color']: use depth, classes, size,"),
    ):
        log = run_tool('benchmarks/benchmark.py', config, '--device', 'cpu', '--compare', tmp_path / name, fails=True)
        assert message in log.strip().splitlines()[-1]


def test_cost_growth_writes_table_and_plot(run_tool, tmp_path):
    out = tmp_path / 'growth'
    config, *_, options = SEGMENTATION
    cases = ['--shape', '64', '96', '--runs', '1', '--modalities', '1', '3', '--scales', '1', '--batches', '1', '2']
    command = ('benchmarks/cost_growth.py', ROOT / 'configs' / config, *cases, '--out', out, '--device', 'cpu')
    run_tool(*command, '--cfg-options', *options, own_process=True)
    rows = [
        [cell.strip() for cell in line.split('|')[1:-1]] for line in out.with_suffix('.md').read_text().splitlines()
    ]
    assert [row[:3] for row in rows[2:]] == [
        ['1', '64x96', '1'], ['3', '64x96', '1'], ['2', '64x96', '1'], ['2', '64x96', '1'], ['2', '64x96', '2']
    ]  # fmt: skip
    for part, factor in ((rows[2:4], 3), (rows[5:7], 2)):
        first, second = (float(row[3]) for row in part)
        assert float(part[1][4]) == pytest.approx(second / first / factor, abs=0.1)
    assert out.with_suffix('.png').stat().st_size > 10000


def test_gpu_table_has_a_row_per_run_and_ends_with_an_error_if_one_failed(run_tool, tmp_path, monkeypatch):
    """The runs of benchmark.py are replaced; `--device cpu --small` makes real ones."""

    def run(command, **_):
        options = {key: command[i + 1] for i, key in enumerate(command) if key.startswith('--')}
        if options['--modes'] == 'training':
            return SimpleNamespace(returncode=1, stdout='..\nOutOfMemoryError: CUDA | out of memory\n')
        ours = dict(seconds=0.01, peak_memory=1e9)
        other = dict(seconds=0.03, peak_memory=2e9, seconds_ratio=3.0, peak_memory_ratio=2.0)
        rows = dict(cen_mm=ours, other=other, float32=dict(other, seconds=0.06, seconds_ratio=6.0))
        if options['--precision'] == 'float32':
            del rows['float32']
        result = dict(machine='GPU A', torch='2.9', shape=[64, 96], batch=1, inference=rows)
        Path(options['--out']).write_text(json.dumps(result))
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr('subprocess.run', run)
    out = tmp_path / 'gpu.md'
    arguments = ('--device', 'cpu', '--compare-segmentation', 'other.py:make', '--out', out)
    log = run_tool('benchmarks/gpu_table.py', *arguments, fails=True)
    assert log.strip().endswith('Some rows failed: run their benchmark.py command to see the whole error.')
    title, _, *table = out.read_text().splitlines()
    assert title == 'Measured on GPU A, torch 2.9. Ratios are reference / cen_mm.'
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in table[2:]]
    assert rows[0][:2] + rows[0][3:] == [
        'segmentation', 'inference', 'float32', '', '10', '30', '3.00', '30', '3.00', '1.00', '0.50'
    ]  # fmt: skip
    assert rows[1][3:10] == ['bfloat16', '', '10', '30', '3.00', '60', '6.00']
    assert rows[2][:6] == [
        'segmentation',
        'training',
        '',
        'float32',
        '',
        'failed: OutOfMemoryError: CUDA / out of memory',
    ]


def test_reading_benchmark_prints_the_ratio_to_the_plain_pipeline(run_tool, any_nyudv2, monkeypatch):
    monkeypatch.setenv('CEN_MM_NYUDV2', f'{any_nyudv2}/')
    config = ROOT / 'configs/cen_refinenet_r101_nyudv2.py'
    log = run_tool('benchmarks/benchmark_reading.py', config, '--samples', 4, '--runs', 1, own_process=True)
    ours, plain, ratio = (float(number) for number in re.findall(r'\d+\.\d+', log.splitlines()[-1]))
    assert ratio == pytest.approx(ours / plain, rel=0.1)


def test_watch_measures_the_command_and_its_workers(run_tool, tmp_path):
    work = 'import subprocess, sys, time; x = bytearray(50 * 2**20); subprocess.Popen(["sleep", "2"]); time.sleep(4)'
    log = run_tool('benchmarks/watch.py', tmp_path / 'out.png', sys.executable, '-c', work)
    first, second = (list(map(float, re.findall(r': ([\d.]+)', line))) for line in log.splitlines()[:2])
    assert 2 >= first[2] > second[2] >= 1  # the worker ends first
    assert second[0] > 30  # about 60; a busy machine measures the start and the end, too
    assert cv2.imread(str(tmp_path / 'out.png')).size > 0
    log = run_tool(
        'benchmarks/watch.py', tmp_path / 'out.png', sys.executable, '-c', 'raise SystemExit(3)', fails=True
    )
    assert log.splitlines()[-1] == '3'  # the status is that of the command
    log = run_tool('benchmarks/watch.py', tmp_path / 'out.png', 'no-such-command', fails=True)
    assert log.splitlines()[-1] == 'no-such-command cannot be run: No such file or directory. Give a command.'
