"""The wheel contains configs, tools and the model index, and works without a checkout."""

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import mmengine
import pytest
from mmengine.config import Config

import cen_mm
from cen_mm.apis import init_model

ROOT = Path(__file__).parents[1]
NAME = 'cen_refinenet_r18_rooms.py'


def run(*command, cwd: Path, **environment) -> str:
    environment = {**os.environ, 'PYTHONDONTWRITEBYTECODE': '1', **environment}
    result = subprocess.run(
        [sys.executable, *map(str, command)], cwd=cwd, env=environment, text=True, stdout=-1, stderr=subprocess.STDOUT
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def files_of(folder: Path) -> dict[str, bytes]:
    """Returns the content of all files of a folder that belong into the wheel."""
    paths = (path for path in folder.rglob('*') if path.is_file() and path.suffix not in ('.pyc', '.png'))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    """Builds an sdist and from it a wheel, and returns a folder with the content of the wheel."""
    checkout = tmp_path_factory.mktemp('checkout')  # builds write into the folder that they build
    for name in ('cen_mm', 'configs', 'tools'):
        shutil.copytree(ROOT / name, checkout / name)
    for name in ('setup.py', 'pyproject.toml', 'MANIFEST.in', 'model-index.yml', 'README.md', 'LICENSE'):
        shutil.copy(ROOT / name, checkout)
    build = 'from setuptools import build_meta; build_meta.build_{}("dist")'
    run('-c', build.format('sdist'), cwd=checkout)
    with tarfile.open(next(checkout.glob('dist/cen_mm-*.tar.gz'))) as sdist:
        sdist.extractall(checkout / 'unpacked')
    (unpacked,) = checkout.glob('unpacked/cen_mm-*')
    run('-c', build.format('wheel'), cwd=unpacked)
    folder = tmp_path_factory.mktemp('site')
    with zipfile.ZipFile(next(unpacked.glob('dist/cen_mm-*.whl'))) as wheel:
        wheel.extractall(folder)
    return folder


def test_wheel_contains_package_configs_tools_and_index(site):
    expected = files_of(ROOT / 'cen_mm')
    for folder in ('configs', 'tools'):
        expected.update({f'.mim/{folder}/{name}': data for name, data in files_of(ROOT / folder).items()})
    expected['.mim/model-index.yml'] = (ROOT / 'model-index.yml').read_bytes()
    assert files_of(site / 'cen_mm') == expected
    assert {path.name.split('-')[0] for path in site.iterdir()} == {'cen_mm'}


def test_wheel_works_without_a_checkout(site, tmp_path):
    change = 'model = dict(decode_head=dict(num_classes=5))'
    (tmp_path / 'named.py').write_text(f"_base_ = 'cen_mm::{NAME}'\n{change}")
    # Works in tools that do not import cen_mm before they read the config.
    (tmp_path / 'imported.py').write_text(f"_base_ = __import__('cen_mm').config_path('cen_mm::{NAME}')\n{change}")
    code = """
import sys
from mmengine.config import Config
imported = Config.fromfile('imported.py')
assert sys.modules['cen_mm'].__file__.startswith(sys.argv[1])
named = Config.fromfile('named.py')
assert named.to_dict() == imported.to_dict()
named.dump('read.py')
"""
    run('-c', code, site, cwd=tmp_path, PYTHONPATH=str(site))
    expected = Config.fromfile(ROOT / 'configs' / NAME)
    expected.model.decode_head.num_classes = 5
    assert Config.fromfile(tmp_path / 'read.py').to_dict() == expected.to_dict()
    log = run(site / 'cen_mm/.mim/tools/train.py', '--help', cwd=tmp_path, PYTHONPATH=str(site))
    assert '--amp-dtype' in log


def test_names_of_configs_in_a_checkout(tmp_path):
    expected = Config.fromfile(ROOT / 'configs' / NAME).to_dict()
    (tmp_path / 'child.py').write_text(f"_base_ = ['cen_mm::{NAME}']")
    assert Config.fromfile(tmp_path / 'child.py').to_dict() == expected
    assert init_model(f'cen_mm::{NAME}', device='cpu').cfg.to_dict() == expected
    assert cen_mm.config_path('cen_mm::ablation/rgb.py') == str(ROOT / 'configs/ablation/rgb.py')
    assert cen_mm.config_path(tmp_path) == str(tmp_path)
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument('config', type=cen_mm.config_argument)
    assert parser.parse_args([f'cen_mm::{NAME}']).config == str(ROOT / 'configs' / NAME)
    for name, message in (
        ('none.py', 'none.py does not exist: give the'),
        ('cen_mm::none.py', "has no config 'none.py'"),
    ):
        with pytest.raises(argparse.ArgumentError, match=message):
            parser.parse_args([name])
    (tmp_path / 'child.py').write_text("_base_ = 'cen_mm::resnet.py'")
    with pytest.raises(FileNotFoundError, match="cen_mm has no config 'resnet.py': use one of the files in .*configs"):
        Config.fromfile(tmp_path / 'child.py')


def test_model_index_names_every_config():
    models, collections = [], set()
    for path in mmengine.load(ROOT / 'model-index.yml')['Import']:
        metafile = mmengine.load(ROOT / path)
        models += metafile['Models']
        collections |= {collection['Name'] for collection in metafile['Collections']}
        assert all((ROOT / collection['README']).is_file() for collection in metafile['Collections'])
    configs = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / 'configs').glob('*.py'))
    assert sorted(model['Config'] for model in models) == configs
    for model in models:
        assert model['Name'] == Path(model['Config']).stem
        assert model['In Collection'] in collections
        # Results are the authors' published ones, as in the README, and say so.
        assert model['Metadata'].get('Results From') == ('the authors' if 'Results' in model else None)
