"""Finding and reading the files of a data set: path patterns, list files, and clear errors for bad files."""

import os
import stat
from typing import Iterable, Iterator, NamedTuple, Optional

from mmengine import fileio
from mmengine.logging import print_log

BackendArgs = Optional[dict]


class Fault(NamedTuple):
    """What is wrong with a file: its path, the kind of the fault in a few words, and a sentence."""

    path: str
    kind: str
    message: str


class BadFileError(ValueError):
    """A file that cannot be used. The message is one sentence that starts with the path.

    Args:
        path: path of the file.
        kind: kind of the fault in a few words, such as ``'size'``.
        text: what is wrong with the file, and how to fix it.
    """

    def __init__(self, path: str, kind: str = '', text: str = ''):
        super().__init__(f'{path} {text}'.rstrip())  # torch rebuilds the error of a worker from its message alone
        self.path = str(path)
        self.kind = kind


def read_file(path: str, backend_args: BackendArgs = None, max_bytes: Optional[int] = None) -> bytes:
    """Reads a file.

    Args:
        path: path of the file.
        backend_args: arguments of mmengine's file backend.
        max_bytes: size from which a local file is refused before it is read.

    Raises:
        BadFileError: if the file cannot be read, is a folder, a pipe or a device, or is too large.
    """
    try:
        if _is_local(path, backend_args):
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait forever
                raise BadFileError(path, 'no file', 'is a folder, a pipe or a device: replace it by a file.')
            if max_bytes is not None and status.st_size > max_bytes:
                raise BadFileError(
                    path,
                    'too large',
                    f'has {status.st_size} bytes, more than an image of max_pixels can have ({max_bytes}): replace '
                    'the file, or increase max_pixels of its modality in the data set.',
                )
        return fileio.get(path, backend_args=backend_args)
    except OSError as error:
        kind = 'missing' if isinstance(error, FileNotFoundError) else 'unreadable'
        reason = error.strerror or repr(error)
        raise BadFileError(path, kind, f'cannot be read ({reason}): restore the file or its permissions.') from None


def _is_local(path: str, backend_args: BackendArgs) -> bool:
    backend = fileio.get_file_backend(path, backend_args=backend_args, enable_singleton=True)
    return isinstance(backend, fileio.LocalBackend)


def read_list(path: str, owner: str, backend_args: BackendArgs = None) -> list[tuple[str, str]]:
    """Reads a list file.

    Returns:
        For each line that is not empty its source, ``'FILE, line N'``, and its text.

    Raises:
        FileNotFoundError: if the file does not exist.
        BadFileError: if it is not a text file in UTF-8 without byte order mark.
    """
    if not fileio.exists(path, backend_args=backend_args):
        raise FileNotFoundError(
            f'The list file {path} does not exist: set data_root to the folder of {owner} and ann_file to its list '
            'file.'
        )
    try:
        text = read_file(path, backend_args).decode()
    except UnicodeDecodeError:
        text = '\0'
    if '\0' in text or text.startswith('\ufeff'):
        raise BadFileError(
            path, 'list', 'is not plain UTF-8 text: save the list as UTF-8 without byte order mark, not as UTF-16.'
        )
    lines = text.splitlines()
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
        ValueError: if a pattern does not contain ``{}``, or contains it several times without a list file.
    """
    for key, pattern in patterns.items():
        if pattern.count('{}') > 1 and not ann_file:
            raise ValueError(
                f'{owner}: the path of {key}, {pattern!r}, has {{}} more than once, so the names cannot be found in '
                'the folders: set ann_file to a list of the names.'
            )
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


def find_faults(files: Iterable[tuple[str, str]], root: str = '', backend_args: BackendArgs = None) -> Iterator[Fault]:
    """Finds files that do not exist, are no files, or are outside the data root, with one listing per folder.

    Args:
        files: path of each file and the source that requires it, such as ``'train.txt, line 3'``.
        root: folder that must contain all files, also when symbolic links are followed. Empty: any folder may.
        backend_args: arguments of mmengine's file backend.
    """

    def inside(path: str) -> bool:
        resolve = os.path.realpath if _is_local(path, backend_args) else os.path.normpath
        return not root or os.path.join(resolve(path), '').startswith(os.path.join(resolve(root), ''))

    folders: dict[str, tuple[bool, set[str], set[str]]] = {}
    for path, source in files:
        folder, name = os.path.split(path)
        if folder not in folders:
            folders[folder] = (inside(folder), *_files_and_links(folder, backend_args))
        folder_inside, names, links = folders[folder]
        if not folder_inside or (name in links and not inside(path)):
            text = (
                f'is outside data_root {root}: correct the path, or set allow_outside_data_root=True in the data set '
                'if all its lists and links can be trusted.'
            )
            yield Fault(path, 'outside data_root', f'{path}, required by {source}, {text}')
        elif name not in names:
            kind, text = 'missing', 'does not exist: add the file'
            if _is_local(path, backend_args) and os.path.exists(path):
                kind, text = 'no file', 'is a folder, a pipe or a device: replace it by a file'
                if os.path.isfile(path):  # on a file system that ignores upper and lower case or forms of Unicode
                    kind, text = 'missing', 'has another name on the disk (upper or lower case, or accents): rename it'
            message = f'{path}, required by {source}, {text}, correct its path, or remove the sample.'
            yield Fault(path, kind, message)


def _files_and_links(folder: str, backend_args: BackendArgs) -> tuple[set[str], set[str]]:
    """Returns the names of the files in a folder, links to files included, and of the links."""
    if not fileio.isdir(folder or '.', backend_args=backend_args):
        return set(), set()
    if not _is_local(folder, backend_args):
        return set(fileio.list_dir_or_file(folder, list_dir=False, backend_args=backend_args)), set()
    with os.scandir(folder or '.') as scan:
        files = {entry.name: entry.is_file(follow_symlinks=False) for entry in scan}
    links = {name for name, is_file in files.items() if not is_file and os.path.islink(os.path.join(folder, name))}
    return {n for n, is_file in files.items() if is_file or os.path.isfile(os.path.join(folder, n))}, links
