"""Turning an exception of a part into one sentence that names the part by its key in the config."""

import traceback
from pathlib import Path
from typing import Any, Iterator, Optional

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.registry import build_from_cfg

PACKAGE = str(Path(__file__).parents[2])


def explain(error: Exception, cfg: Config) -> str:
    """Describes an exception that was raised before training.

    A check of cen_mm is a sentence already. For any other exception, the traceback is written to ``traceback.txt`` in
    the work directory, and the sentence names the part of the config that could not be built.

    Args:
        error: the exception.
        cfg: the config, with ``work_dir``.
    """
    part = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code is build_from_cfg.__code__ and isinstance(frame.f_locals['cfg'], dict):
            part = frame.f_locals['cfg']  # in the end, that of the innermost part
    key = None if part is None else find_key(part, cfg.to_dict())
    text = (f'{key}: ' if key else '') + describe(error)
    root: BaseException = error
    while root.__cause__ is not None:
        root = root.__cause__
    if is_check(root):
        return text
    path = Path(cfg.work_dir, 'traceback.txt')
    if is_main_process():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(''.join(traceback.format_exception(type(error), error, error.__traceback__)))
    return f'{text.rstrip(".")} (traceback: {path}).'


def describe(error: Exception) -> str:
    """Returns the message of an exception on one line, after its type unless a check of cen_mm raised it."""
    message = ' '.join(str(error).split())
    if not message:  # an assertion
        frame = traceback.extract_tb(error.__traceback__)[-1]
        message = f'{Path(frame.filename).name}, line {frame.lineno}: {frame.line}'
    return message if is_check(error) else f'{type(error).__name__}: {message}'


def is_check(error: BaseException) -> bool:
    """Whether cen_mm raised an exception on purpose, by a ``raise`` statement."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return last.filename.startswith(PACKAGE) and (last.line or '').startswith('raise ')


def find_key(part: dict, cfg: dict) -> Optional[str]:
    """Finds the key of a part in a config. Parts may have been changed while their owners were built.

    Returns:
        The key of the most similar dict with the same type, such as ``'model.backbone'``, or None. A part without
        type must be equal to a single dict.
    """
    if 'type' not in part:
        equal = [key for key, node in dicts(cfg) if node == part]
        return equal[0] if len(equal) == 1 else None
    candidates = {key: node for key, node in dicts(cfg) if node.get('type') == part['type']}
    differences = {key: sum(part.get(name) != node[name] for name in node) for key, node in candidates.items()}
    return min(differences, key=differences.__getitem__, default=None)


def dicts(node: Any, key: str = '') -> Iterator[tuple[str, dict]]:
    """Yields the key and the value of each dict in a config."""
    if isinstance(node, dict) and key:
        yield key, node
    if isinstance(node, (dict, list, tuple)):
        for name, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from dicts(value, f'{key}.{name}' if key else str(name))
