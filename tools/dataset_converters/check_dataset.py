"""Reads all files of a config's data sets with the code that training uses, and lists every fault.

python tools/dataset_converters/check_dataset.py CONFIG

Training stops at the first bad file; this command reads all files in several processes, goes on after each fault, and
also looks for files that can be loaded but hold no usable content. A file that kills its process, or takes longer than
--timeout, is listed, too. The exit status is 1 if there are faults; doubtful files do not count.
"""

import argparse
import os
import time
from collections import Counter, defaultdict
from multiprocessing import Pipe, Process, parent_process
from multiprocessing.connection import Connection, wait
from typing import Iterator, Optional

from mmengine.config import Config, ConfigDict, DictAction
from mmengine.registry import DATASETS, init_default_scope
from mmengine.utils import ProgressBar
from prettytable import PrettyTable
from sample_faults import DOUBTFUL, check_sample

from cen_mm import config_argument
from cen_mm.datasets.base import FileDataset
from cen_mm.datasets.files import Fault
from cen_mm.engine.samples import base_datasets, files_of

Files = list[tuple[str, str]]  # path and source of each file, such as ('rgb/1.png', 'train.txt, line 1')


def list_datasets(cfg: Config) -> Iterator[tuple[str, ConfigDict]]:
    """Yields name and config of each data set: train, val, test, and "train 2" for the second one in a wrapper."""
    for split in ('train', 'val', 'test'):
        if loader := cfg.get(f'{split}_dataloader'):
            for number, settings in enumerate(base_datasets(loader.dataset), start=1):
                yield f'{split} {number}' if number > 1 else split, settings


def list_files(dataset: FileDataset) -> Files:
    """Lists the files of a data set that was built with ``lazy_init``, without refusing bad ones."""
    files: Files = []
    dataset.check_files = files.extend
    dataset.full_init()
    del dataset.check_files
    selected = {path for index in range(len(dataset)) for path in files_of(dataset.get_data_info(index))}
    return [(path, source) for path, source in files if path in selected]  # indices and filter_cfg leave out others


def find_duplicates(files: Files) -> Iterator[Fault]:
    """Finds list lines with the same files."""
    samples = defaultdict(list)
    for path, source in files:
        samples[source].append(path)
    first: dict[tuple, str] = {}
    for source, paths in samples.items():
        if first.setdefault(tuple(paths), source) != source:
            text = f'{source} repeats {first[tuple(paths)]}: remove one of the lines.'
            yield Fault(source, 'duplicate line', text)


def find_shared(files: Files, training_files: list[Files]) -> Iterator[Fault]:
    """Finds files that are also used for training."""
    training = {os.path.realpath(path): source for each in training_files for path, source in each}
    for path, source in files:
        if other := training.get(os.path.realpath(path)):
            text = f'{path}, required by {source}, is also required by {other}: remove it from one of the lists.'
            yield Fault(path, 'also in training', text)


class Reader:
    """A process that checks one sample at a time, so that a file which kills or stops it can be named."""

    def __init__(self, datasets: dict[str, FileDataset], known: set[str], task: tuple[str, int]):
        self.connection, other = Pipe()
        self.process = Process(target=read_samples, args=(other, datasets, known), daemon=True)
        self.process.start()
        other.close()
        self.start(task)

    def start(self, task: tuple[str, int]) -> None:
        self.path, self.started = f'Sample {task[1]} of {task[0]}', time.monotonic()
        self.connection.send(task)

    def result(self, timeout: float) -> Optional[tuple[list[Fault], dict]]:
        """Returns faults and channels of the sample, or None if it is not finished."""
        try:
            while self.connection.poll():
                message = self.connection.recv()
                if not isinstance(message, str):
                    return message
                self.path, self.started = message, time.monotonic()
        except (EOFError, OSError):
            pass  # the process has ended
        slow = time.monotonic() - self.started > timeout
        if self.process.is_alive() and not slow:
            return None
        self.process.kill()
        self.process.join()
        text = f'took more than {timeout:g} s' if slow else f'ended its process (exit code {self.process.exitcode})'
        return [Fault(self.path, 'slow' if slow else 'crash', f'{self.path} {text}: replace the file.')], {}


def read_samples(connection: Connection, datasets: dict[str, FileDataset], known: set[str]) -> None:
    """Checks the samples that the main process asks for. Is run by each reader."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders print messages that do not name the file
    parent = parent_process()
    while True:
        wait([connection, parent.sentinel])
        if not connection.poll():
            return  # the main process was killed
        split, index = connection.recv()
        connection.send(check_sample(datasets[split], index, known, begin=connection.send))


def read_all(
    datasets: dict[str, FileDataset], known: set[str], num_workers: int, timeout: float
) -> Iterator[tuple[list[Fault], dict[str, tuple[str, int]]]]:
    """Checks all samples in several processes, and yields the result of ``check_sample`` for each of them.

    Args:
        datasets: {split: data set}.
        known: paths that are not read.
        num_workers: number of processes.
        timeout: number of seconds for a file, after which its process is ended.
    """
    tasks = iter([(split, index) for split, dataset in datasets.items() for index in range(len(dataset))])
    readers = [Reader(datasets, known, task) for _, task in zip(range(num_workers), tasks)]
    while readers:
        wait([end for reader in readers for end in (reader.connection, reader.process.sentinel)], timeout=1)
        for reader in list(readers):
            if (result := reader.result(timeout)) is None:
                continue
            yield result
            readers.remove(reader)
            task = next(tasks, None)
            if task is None:
                reader.process.kill()
            elif reader.process.is_alive():
                reader.start(task)
                readers.append(reader)
            else:
                readers.append(Reader(datasets, known, task))


def differing_channels(channels: dict[str, dict[int, list[str]]]) -> Iterator[Fault]:
    """Finds files with another number of channels than most files of the same modality."""
    for name, paths in channels.items():
        usual = max(paths, key=lambda number: len(paths[number]))
        for number in set(paths) - {usual}:
            for path in paths[number]:
                text = f'{path} has {number} channel(s), but {len(paths[usual])} files of {name} have {usual}.'
                yield Fault(path, 'channels differ', text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=config_argument, help='config file, or cen_mm::NAME for a config of cen_mm')
    parser.add_argument('--workers', type=int, default=os.cpu_count(), help='processes (default: one per core)')
    parser.add_argument('--timeout', type=float, default=60, help='seconds for one file (default: 60)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='settings to override: key=value')
    args = parser.parse_args()
    if args.workers < 1:
        parser.error(f'--workers is {args.workers}: give a number of at least 1')
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    faults: list[Fault] = []
    datasets: dict[str, FileDataset] = {}
    files: dict[str, Files] = {}
    training: list[Files] = []
    for split, settings in list_datasets(cfg):
        loading = [step for step in settings.pipeline if step.type.split('.')[-1].startswith('Load')]
        try:
            dataset = DATASETS.build({**settings, 'pipeline': loading, 'lazy_init': True})
        except ValueError as error:
            raise SystemExit(f'{split}: {error}') from None
        try:
            listed = list_files(dataset)
        except (FileNotFoundError, ValueError) as error:
            faults.append(Fault(f'{split}: {dataset.ann_file}', 'list', str(error)))
            continue
        if listed in files.values():
            print(f'{split}: the same files as above')
            if listed in training and not split.startswith('train'):
                text = f'{split} has the same files as train: give it a list of its own.'
                faults.append(Fault(split, 'also in training', text))
            continue
        print(f'{split}: {len(dataset)} samples')
        datasets[split], files[split] = dataset, listed
        faults += [*dataset.find_faults(listed), *find_duplicates(listed)]
        if split.startswith('train'):
            training.append(listed)
        else:
            faults += find_shared(listed, training)
    known = {fault.path for fault in faults if fault.kind in ('missing', 'no file', 'outside data_root')}
    channels: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    bar = ProgressBar(sum(map(len, datasets.values())))
    for found, numbers in read_all(datasets, known, args.workers, args.timeout):
        faults += found
        for name, (path, number) in numbers.items():
            channels[name][number].append(path)
        bar.update()
    faults += differing_channels(channels)

    unique = sorted({(fault.path, fault.kind): fault for fault in reversed(faults)}.values())
    print('', *(fault.message for fault in unique), sep='\n')
    table = PrettyTable(['kind', 'number', ''], align='l')
    for kind, number in Counter(fault.kind for fault in unique).most_common():
        table.add_row([kind, number, 'doubtful' if kind in DOUBTFUL else 'fault'])
    print(table if unique else 'No fault was found.')
    if any(fault.kind not in DOUBTFUL for fault in unique):
        raise SystemExit(1)


if __name__ == '__main__':
    main()
