"""Finding the files of a data set: path patterns, list files, and clear errors for what is missing."""

import os
from typing import Iterable, Optional

from mmengine import fileio
from mmengine.dist import is_main_process
from mmengine.logging import print_log

BackendArgs = Optional[dict]


def read_list(path: str, owner: str, backend_args: BackendArgs = None) -> list[tuple[str, str]]:
    """Reads a list file.

    Returns:
        For each line that is not empty its source, ``'FILE, line N'``, and its text.

    Raises:
        FileNotFoundError: if the file does not exist.
    """
    if not fileio.exists(path, backend_args=backend_args):
        raise FileNotFoundError(
            f'The list file {path} does not exist: set data_root to the folder of {owner} and ann_file to its list '
            'file.'
        )
    lines = fileio.get_text(path, backend_args=backend_args).splitlines()
    return [(f'{path}, line {number}', line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]


def list_samples(
    patterns: dict[str, str], root: str, ann_file: str, owner: str, backend_args: BackendArgs = None
) -> list[tuple[str, str, dict[str, str]]]:
    """Lists the samples that path patterns describe.

    Args:
        patterns: path pattern of each key, such as ``'rgb/{}.jpg'``.
        root: folder of the data set.
        ann_file: list file with one name per line. Empty: all names that have a file for every pattern.
        owner: name of the data set's class, for errors.
        backend_args: arguments of mmengine's file backend.

    Returns:
        For each sample its source, such as ``'train.txt, line 3'``, its name, and the path of each key, relative to
        ``root``.

    Raises:
        FileNotFoundError: if the list file or a folder does not exist, or the folders have no common name.
        ValueError: if a pattern does not contain ``{}``.
    """
    for key, pattern in patterns.items():
        if '{}' not in pattern:
            raise ValueError(
                f'{owner}: the path of {key} is {pattern!r}: write {{}} in place of the name of the sample, such as '
                f"'{key}/{{}}.png'."
            )
    if ann_file:
        lines = read_list(ann_file, owner, backend_args)
    else:
        root = root or '.'
        lines = [(root, name) for name in common_names(root, patterns, backend_args)]
    return [
        (source, name, {key: pattern.replace('{}', name) for key, pattern in patterns.items()})
        for source, name in lines
    ]


def common_names(root: str, patterns: dict[str, str], backend_args: BackendArgs = None) -> list[str]:
    """Finds the names that have a file for every pattern.

    Args:
        root: folder of the data set.
        patterns: path pattern of each key, such as ``'rgb/{}.jpg'``; ``{}`` may stand for names in subfolders.
        backend_args: arguments of mmengine's file backend.

    Returns:
        The sorted names. Names without a file for one of the patterns are left out with a warning.

    Raises:
        FileNotFoundError: if a folder does not exist, has no file that matches, or the folders have no common name.
    """
    found = {key: _matches(root, key, pattern, backend_args) for key, pattern in patterns.items()}
    common = set.intersection(*found.values())
    examples = [f'{key}: {min(names - common)}' for key, names in found.items() if names - common]
    where = f' in {root}' if root else ''
    if not common:
        raise FileNotFoundError(
            f'The folders{where} have no common file name ({"; ".join(examples)}): {{}} in the paths must stand '
            'for the part of the file name that all files of a sample share.'
        )
    left_out = len(set.union(*found.values())) - len(common)
    if left_out:
        print_log(
            f'{root or "inputs"}: {left_out} names are left out, because they do not have a file for each of '
            f'{", ".join(found)} (for example {"; ".join(examples)}). {len(common)} names are used.',
            logger='current',
            level=30,
        )
    return sorted(common)


def _matches(root: str, key: str, pattern: str, backend_args: BackendArgs) -> set[str]:
    """Returns the parts of file names for which ``{}`` stands in a pattern."""
    before, _, after = fileio.join_path(root, pattern).partition('{}')
    folder, _, prefix = before.rpartition('/')
    folder = folder or '.'
    if not fileio.isdir(folder, backend_args=backend_args):
        raise FileNotFoundError(
            f'The folder {folder} of {key} does not exist: correct {"data_root or " if root else ""}the path '
            f'{pattern!r}.'
        )
    files = fileio.list_dir_or_file(folder, list_dir=False, suffix=after, recursive=True, backend_args=backend_args)
    names = {file[len(prefix) : len(file) - len(after)] for file in files if file.startswith(prefix)}
    if not names:
        raise FileNotFoundError(f'{folder} contains no file {pattern!r} of {key}: correct the path of {key}.')
    return names


def check_files(files: Iterable[tuple[str, str]], backend_args: BackendArgs = None) -> None:
    """Checks that files exist, in the main process only, and with one listing per folder.

    Args:
        files: path of each file and the source that requires it, such as ``'train.txt, line 3'``.
        backend_args: arguments of mmengine's file backend.

    Raises:
        FileNotFoundError: for the first missing file.
    """
    if not is_main_process():
        return  # the launcher ends all processes if the main process fails
    folders: dict[str, set[str]] = {}
    for path, source in files:
        folder, name = os.path.split(path)
        if folder not in folders:
            exists = fileio.isdir(folder, backend_args=backend_args)
            entries = fileio.list_dir_or_file(folder, backend_args=backend_args) if exists else ()
            folders[folder] = set(entries)
        if name not in folders[folder]:
            raise FileNotFoundError(
                f'{path}, required by {source}, does not exist: add the file, correct its path, or remove the sample.'
            )
