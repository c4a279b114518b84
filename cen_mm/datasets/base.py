"""What the data sets of both tasks have in common: their files are checked, and bad ones can be skipped."""

from typing import Iterable, Iterator, Optional

import torch
from mmengine.dataset import BaseDataset
from mmengine.dist import is_main_process
from mmengine.logging import print_log

from .files import BadFileError, Fault, find_faults


class FileDataset(BaseDataset):
    """Data set whose samples are files.

    Args:
        skip_bad_files: what happens in training if a file cannot be loaded. False: training stops with the name of
            the file. True: another random sample takes its place; each bad file is logged once, with the number of
            bad samples so far. Validation and tests always stop, because scores without a sample would not be
            comparable.
        allow_outside_data_root: whether list files and links may lead out of ``data_root``. Without ``data_root``
            they may lead anywhere.
        **kwargs: arguments of the next class.
    """

    backend_args: Optional[dict] = None

    def __init__(self, *args, skip_bad_files: bool = False, allow_outside_data_root: bool = False, **kwargs):
        self.skip_bad_files = skip_bad_files
        self.allow_outside_data_root = allow_outside_data_root
        super().__init__(*args, **kwargs)

    def full_init(self) -> None:
        """Lists the samples, and allocates the record of the bad ones."""
        super().full_init()
        self.bad_samples = torch.zeros(len(self), dtype=torch.bool).share_memory_()  # one record for all workers

    def find_faults(self, files: Iterable[tuple[str, str]]) -> Iterator[Fault]:
        """Finds files that do not exist or may not be read; ``files`` are pairs of path and source."""
        root = '' if self.allow_outside_data_root else self.data_root or ''
        return find_faults(files, root, self.backend_args)

    def check_files(self, files: Iterable[tuple[str, str]]) -> None:
        """Checks the files of all samples, in the main process only: the launcher ends the others if it fails.

        Args:
            files: path of each file and the source that requires it, such as ``'train.txt, line 3'``.

        Raises:
            FileNotFoundError: for the first file if it does not exist.
            ValueError: for the first file if it is no regular file or is outside ``data_root``.
        """
        for fault in self.find_faults(files) if is_main_process() else ():
            raise (FileNotFoundError if fault.kind == 'missing' else ValueError)(fault.message)

    def prepare_data(self, idx: int) -> Optional[dict]:
        """Loads a sample. None if it has a bad file and is skipped; mmengine then loads another one."""
        try:
            return super().prepare_data(idx)
        except BadFileError as error:
            if not self.skip_bad_files or self.test_mode:
                raise
            if not self.bad_samples[idx]:
                self.bad_samples[idx] = True
                count = f'{int(self.bad_samples.sum())} of {len(self)} samples are skipped so far'
                print_log(f'{error} {count} (skip_bad_files).', logger='current', level=30)
            return None
