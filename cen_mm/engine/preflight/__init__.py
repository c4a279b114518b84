"""Checks before training: mistakes in a config end in one sentence, and a table shows what will be trained."""

from .config import check_config
from .explain import explain, is_check
from .hook import PreflightHook

__all__ = ['PreflightHook', 'check_config', 'explain', 'is_check']
