"""Lets tools that expect a setup.py install the package. The settings are in pyproject.toml."""

from setuptools import setup

setup()
