"""Builds the package. The settings are in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):
    """Also copies configs, tools and the model index to ``cen_mm/.mim``, where mim looks for them."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return  # cen_mm uses the folders of the checkout
        mim = Path(self.build_lib, 'cen_mm', '.mim')
        shutil.rmtree(mim, ignore_errors=True)  # it may contain files of an earlier build
        for folder in ('configs', 'tools'):
            shutil.copytree(folder, mim / folder, ignore=shutil.ignore_patterns('__pycache__', '*.png'))
        shutil.copy('model-index.yml', mim)


setup(cmdclass={'build_py': BuildWithConfigs})
