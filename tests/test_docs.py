"""Code blocks of the documentation run, its commands have existing options, and the site builds without a warning."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from cen_mm.apis import init_model
from cen_mm.exchange import exchanging_norms

ROOT = Path(__file__).parents[1]
READMES = ('', 'configs/ablation/', 'tools/benchmarks/')
PAGES = [*sorted((ROOT / 'docs').glob('*.md')), *(ROOT / f'{path}README.md' for path in READMES)]
BLOCK = r'^```{}\n(.*?)^```'
TOOL = re.compile(
    r'python tools/(\S+)\.py|bash tools/dist_(train|test)\.sh|mim run cen_mm (\w+)|mim (train|test) cen_mm'
)
PLACEHOLDERS = re.compile(r'\bCONFIG\b|\bCHECKPOINT\b')


def blocks(language: str) -> list:
    """All code blocks of a language, as test parameters named after the page."""
    return [
        pytest.param(code, id=f'{page.relative_to(ROOT).with_suffix("")}-{i}')
        for page in PAGES
        for i, code in enumerate(re.findall(BLOCK.format(language), page.read_text(), re.MULTILINE | re.DOTALL))
    ]


PYTHON = blocks('python')
CONFIGS = [block for block in PYTHON if '_base_ =' in block.values[0]]


@pytest.mark.parametrize('code', CONFIGS)
def test_configs_build(code, tmp_path):
    folder = f'{ROOT}/configs/'
    code = code.replace('cen_mm::', folder)
    (tmp_path / 'child.py').write_text(re.sub(r"(_base_ = ')(?!/)", rf'\1{folder}', code))
    cfg = Config.fromfile(tmp_path / 'child.py', import_custom_modules=False)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    if cfg.default_scope == 'mmagic':
        pytest.importorskip('mmagic')
        importlib.import_module('cen_mm.translation')
    model = MODELS.build(cfg.model)
    assert set(model.modalities) == set(list_modalities(cfg))
    norms = dict(exchanging_norms(model))
    assert {norm.threshold for norm in norms.values()} == find_thresholds(cfg.model)
    if 'mobilenet' in cfg:
        assert len(norms) == 17
    if cfg.default_scope == 'mmseg':
        model.eval()
        with torch.no_grad():
            branches = model.branches(torch.randn(2, model.in_channels, 64, 64))
        assert branches['ensemble'].shape == (2, cfg.model.decode_head.num_classes, 16, 16)
        assert set(branches) == {*model.modalities, 'ensemble'}
        first, second, *_ = branches.values()
        assert not first.allclose(second)


def list_modalities(cfg: Config) -> list[str]:
    """The modalities of a config's training data."""
    dataset = cfg.train_dataloader.dataset
    return list(dataset.get('modalities') or dataset.inputs)


def find_thresholds(model: dict) -> set[float]:
    """The threshold of the exchanging norms; none if the config switches the exchange off."""
    if 'backbone' not in model:
        return {model['generator']['threshold']}
    return set() if model['backbone'].get('exchange', '') is None else {model['backbone'].get('threshold', 0.02)}


@pytest.fixture
def user_folder(tmp_path, monkeypatch) -> dict[str, str]:
    """A folder with pairs of images, and what the placeholders of the documentation stand for."""
    name = 'cen_mm::cen_refinenet_r18_rooms.py'
    torch.save(dict(state_dict=init_model(name, device='cpu').state_dict()), tmp_path / 'epoch_1.pth')
    rng = np.random.default_rng(0)
    for path in ('a', 'b', 'images/rgb/0', 'images/rgb/1'):
        depth = path.replace('rgb', 'depth') if '/' in path else f'{path}_depth'
        for file, image in (
            (path, rng.integers(0, 256, (48, 64, 3), np.uint8)),
            (depth, rng.integers(0, 9999, (48, 64), np.uint16)),
        ):
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(f'{tmp_path / file}.png', image)
    monkeypatch.chdir(tmp_path)
    return dict(CONFIG=name, CHECKPOINT='epoch_1.pth')


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_runs(page, user_folder):
    """The blocks of a page run one after the other, as a reader runs them."""
    namespace = {}
    for code in re.findall(BLOCK.format('python'), page.read_text(), re.MULTILINE | re.DOTALL):
        if '_base_ =' not in code and 'MODEL.onnx' not in code:  # which test_export.py runs
            exec(PLACEHOLDERS.sub(lambda match: user_folder[match[0]], code), namespace)


def commands() -> dict[str, set[str]]:
    """The options that the documentation uses, by tool."""
    used: dict[str, set[str]] = {}
    for block in blocks('bash'):
        for line in block.values[0].replace('\\\n', ' ').splitlines():
            if tool := TOOL.search(line.split('    #')[0]):
                name = Path(next(filter(None, tool.groups()))).name
                used.setdefault(name, set()).update(re.findall(r'(?<= )--[\w-]+', line[tool.end() :]))
    return used


@pytest.mark.parametrize('tool', commands())
def test_commands_exist(tool, run_tool):
    (path,) = (ROOT / 'tools').rglob(f'{tool}.py')
    known = re.findall(r'--[\w-]+', run_tool(str(path.relative_to(ROOT / 'tools')), '--help'))
    assert commands()[tool] <= {*known, '--checkpoint'}  # mim's own name of an argument


def test_site_builds_without_a_warning(tmp_path):
    pytest.importorskip('mkdocs')
    pytest.importorskip('mkdocstrings')
    command = [
        sys.executable,
        '-m',
        'mkdocs',
        'build',
        '--strict',
        '-f',
        str(ROOT / '.mkdocs.yml'),
        '-d',
        str(tmp_path),
    ]
    result = subprocess.run(command, text=True, stdout=-1, stderr=subprocess.STDOUT)
    assert result.returncode == 0, result.stdout
    assert not re.findall(r'(?:src|stylesheet" href)="https?://', (tmp_path / 'index.html').read_text())
