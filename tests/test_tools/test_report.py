"""The page of report.py against hand-made logs: its numbers, several runs, and what a browser makes of it."""

import base64
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

CLASSES = ['wall', 'floor', '<lamp>']
CONFUSION = [[6, 2, 0], [1, 7, 0], [3, 0, 1]]
CONFIG = '_base_ = "base.py"\nmodel = dict(backbone=dict(depth={depth}))\n'


class Page(HTMLParser):
    """Collects the charts, the texts of all table rows, and all references of a page."""

    def __init__(self, path: Path):
        super().__init__()
        self.charts, self.rows, self.references, self.tag = [], [], [], ''
        self.feed(path.read_text(encoding='utf-8'))

    def handle_starttag(self, tag, attributes):
        self.tag = dict(attributes).get('type', tag)
        self.references += [value for key, value in attributes if key in ('src', 'href', 'srcset', 'data', 'action')]
        if tag == 'tr':
            self.rows.append([])
        elif tag in ('td', 'th') and self.rows:
            self.rows[-1].append('')

    def handle_data(self, data):
        if self.tag == 'application/json':
            self.charts.append(json.loads(data))
        elif self.rows and self.rows[-1] and self.tag in ('td', 'th', 'code', 'small', 'wbr'):
            self.rows[-1][-1] += data.strip()

    def handle_endtag(self, tag):
        self.tag = ''


@pytest.fixture
def work_dir(tmp_path) -> Path:
    """Writes a work directory as train.py (twice: the second run resumes) and test.py leave it."""
    (tmp_path / 'base.py').write_text('model = dict(backbone=dict(depth=101), type="CEN")\nunused = 1\n')
    (tmp_path / 'config.py').write_text(CONFIG.format(depth=18))
    work_dir = tmp_path / 'first'
    shares = {f'exchange/backbone.layer{i}.bn/{name}': 0.1 * i for i in (1, 2) for name in ('rgb', 'depth')}
    runs = {
        '20260101_000000': [
            {'loss': 2.0, 'loss_sparsity': 1.0, 'lr': 0.1, 'epoch': 1, 'iter': 10, 'step': 10},
            {'exchange/rgb': 0.1, 'exchange/depth': 0.2, **shares, 'step': 10},
            {'rgb/mIoU': 30.0, 'depth/mIoU': 31.0, 'mIoU': 32.0, 'time': 1, 'data_time': 1, 'step': 10},
            {'loss': 99.0, 'loss_sparsity': 99.0, 'lr': 0.1, 'epoch': 2, 'iter': 20, 'step': 20},
        ],
        '20260102_000000': [
            {'loss': float('nan'), 'loss_sparsity': 0.5, 'lr': 0.01, 'epoch': 2, 'iter': 20, 'step': 20},
            {'exchange/rgb': 0.3, 'exchange/depth': 0.4, **shares, 'step': 20},
            {'rgb/mIoU': 40.0, 'depth/mIoU': 41.0, 'mIoU': 42.0, 'time': 1, 'data_time': 1, 'step': 20},
        ],
    }
    run = dict(command='tools/train.py config.py', config=str(tmp_path / 'config.py'), versions=dict(torch='9.8'))
    for name, rows in runs.items():
        data = work_dir / name / 'vis_data'
        data.mkdir(parents=True)
        (data / 'scalars.json').write_text(''.join(f'{json.dumps(row)}\n' for row in rows))
        (data / 'config.py').write_text(
            f'model = dict(backbone=dict(depth=34), type="CEN")\nunused = 2\nrun = {run}\n'
        )
        (data.parent / f'{name}.log').write_text('2026/01/01 10:00:00 - start\ndetails\n2026/01/01 10:01:30 - end\n')
    test = work_dir / '20260103_000000'
    test.mkdir()
    scores = {'rgb/mIoU': 50.25, 'depth/mIoU': 51.5, 'mIoU': 52.75, 'time': 1, 'data_time': 1}
    (test / f'{test.name}.json').write_text(json.dumps(scores))
    details = dict(
        classes=CLASSES,
        by_class={name: dict(IoU=[50.5, 70.0, float('nan')]) for name in ('rgb', 'depth', 'ensemble')},
        confusion=CONFUSION,
        samples=[
            dict(name=f'/data/{folder}/0.png', scores=dict(rgb=dict(mIoU=1.0), ensemble=dict(mIoU=score)))
            for folder, score in zip('abc', (20.0, 90.0, 10.0))
        ],
        run=dict(run, command='tools/test.py config.py'),
        pictures=str(tmp_path / 'shown'),
    )
    (test / 'details.json').write_text(json.dumps(details))
    for value, folder in enumerate('abc'):
        (tmp_path / 'shown' / folder).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / 'shown' / folder / '0.png'), np.full((40, 2000, 3), 50 * value, np.uint8))
    return work_dir


def test_numbers_are_those_of_the_log(work_dir, run_tool):
    log = run_tool('analysis_tools/report.py', work_dir)
    assert '20 iterations in 2 epochs, 3.0 min' in log
    assert 'mIoU of the ensemble: 52.75 (test); channels below the threshold: rgb 30.0%, depth 40.0%' in log
    page = Page(work_dir / 'report.html')
    for row in (['rgb', '50.25'], ['depth', '51.50'], ['ensemble', '52.75'], ['torch', '9.8']):
        assert row in page.rows
    charts = {chart['title']: chart for chart in page.charts}
    losses = {series['name']: series['points'] for series in charts['losses']['series']}
    assert losses == dict(loss=[[10, 2.0]], loss_sparsity=[[10, 1.0], [20, 0.5]])  # resumed at 20, where one is NaN
    scores = {series['name']: series['points'] for series in charts['mean IoU, %']['series']}
    assert scores == dict(rgb=[[10, 30], [20, 40]], depth=[[10, 31], [20, 41]], ensemble=[[10, 32], [20, 42]])
    assert charts['rgb']['rows'] == ['layer1.bn', 'layer2.bn']
    assert np.allclose(charts['rgb']['values'], [[10, 10], [20, 20]])
    confusion = charts['rows: label, columns: prediction of the ensemble']
    assert confusion['counts'] == CONFUSION
    assert np.allclose(confusion['values'], [[75, 25, 0], [12.5, 87.5, 0], [75, 0, 25]])
    assert page.rows.index(['<lamp>', 'wall', '75.0 %']) == page.rows.index(['wall', 'floor', '25.0 %']) - 1
    assert ['model.backbone.depth', '34base:101'] in page.rows
    assert not any('unused' in cell or cell == 'model.type' for row in page.rows for cell in row)


def test_page_is_self_contained_with_the_pictures_of_the_samples(work_dir, run_tool):
    run_tool('analysis_tools/report.py', work_dir)
    text = (work_dir / 'report.html').read_text(encoding='utf-8')
    assert not re.search(r'https?:|//\w+\.|@import|url\(', re.sub(r'data:image/webp;base64,[\w+/=]*', '', text))
    best, worst = Page(work_dir / 'report.html').references
    for uri, value in ((best, 50), (worst, 100)):
        data = uri.split('data:image/webp;base64,')[1]
        picture = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape == (20, 1000, 3)
        assert abs(picture.astype(int) - value).max() < 4
    assert text.index('b/0.png: rgb 1.000, ensemble 90.00') < text.index('c/0.png: rgb 1.000, ensemble 10.00')


def test_several_runs(work_dir, run_tool, tmp_path):
    shutil.copytree(work_dir, tmp_path / 'second')
    (tmp_path / 'second/20260103_000000/details.json').unlink()  # a test that was not run by test.py
    for path in tmp_path.glob('second/*/vis_data/config.py'):
        path.write_text('model = dict(backbone=dict(depth=50), type="CEN")')
    run_tool('analysis_tools/report.py', work_dir, tmp_path / 'second', '--out', tmp_path / 'both.html')
    page = Page(tmp_path / 'both.html')
    assert ['run', 'branch', 'mIoU'] in page.rows
    assert ['second', 'ensemble', '52.75'] in page.rows
    assert ['model.backbone.depth', '34base:101', '50'] in page.rows
    (losses,) = (chart for chart in page.charts if chart['title'] == 'losses')
    shown = [(series['run'], series['name']) for series in losses['series'] if not series['hidden']]
    assert shown == [('first', 'loss'), ('second', 'loss')]
    assert 'run <code>tools/test.py</code>' in (tmp_path / 'both.html').read_text(encoding='utf-8')


def test_page_in_a_browser(work_dir, run_tool, tmp_path):
    playwright = pytest.importorskip('playwright.sync_api')
    browser_path = shutil.which('chromium')
    if browser_path is None:
        pytest.skip('chromium is not installed')
    run_tool('analysis_tools/report.py', work_dir)
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=browser_path, args=['--no-sandbox', '--disable-gpu'])
        page = browser.new_page(viewport=dict(width=390, height=800), color_scheme='dark')
        errors, requests = [], []
        page.on('pageerror', lambda error: errors.append(error))
        page.on('request', lambda request: requests.append(request.url))
        page.goto(f'file://{work_dir}/report.html')
        assert page.evaluate('document.documentElement.scrollWidth') == 390  # wide tables scroll on their own
        assert page.evaluate('getComputedStyle(document.body).backgroundColor') == 'rgb(22, 24, 28)'
        chart = page.locator('figure', has_text='mean IoU, %')
        assert chart.locator('path.curve[d*=L]').count() == 3
        chart.locator('button', has_text='depth').click()
        assert chart.locator('path.curve[d*=L]').count() == 2
        chart.locator('div').first.hover(position=dict(x=55, y=100))  # at the first validation
        assert chart.locator('.legend').inner_text().split() == ['rgb', '30', 'depth', '31', 'ensemble', '32']
        heat = page.locator('figure', has_text='rows: label')
        heat.locator('rect.cell').nth(6).hover()
        assert heat.locator('output').inner_text() == '<lamp>, predicted as wall: 75 % (3 pixels)'
        assert not errors
        assert [url for url in requests if not url.startswith('data:')] == [f'file://{work_dir}/report.html']
        browser.close()
