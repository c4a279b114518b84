"""Workers of a data loader that survive signals to the whole job, and whose death is reported with their files."""

import os
import re
import signal
import threading
import time
from contextlib import contextmanager
from functools import partial
from typing import Any, Callable, Iterator, Optional

import torch
from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info

from .samples import files_of


def _wait_for_end() -> None:
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != os.getppid():
        pass
    os._exit(0)


def _start_worker(init: Optional[Callable], notes: Tensor, worker: int) -> None:
    # Ctrl-C and the schedulers of clusters signal all processes of a job, but the main process needs its workers until
    # it has saved a checkpoint: only its own SIGTERM ends them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, 'sigwaitinfo'):  # Linux
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=_wait_for_end, daemon=True).start()
    dataset: Any = get_worker_info().dataset  # type: ignore[union-attr]
    kind, note = type(dataset), notes[worker]
    note[0] = os.getpid()

    def read(self: Any, index: Any) -> Any:
        note[1] = index[0] if isinstance(index, tuple) else index
        return kind.__getitem__(self, index)

    dataset.__class__ = type(kind.__name__, (kind,), {'__getitem__': read})
    if init is not None:
        init(worker)


@contextmanager
def watched_workers(*loaders: DataLoader) -> Iterator[None]:
    """Makes the workers of data loaders ignore signals from other processes, and reports the death of one.

    Each worker notes its process id and the index of the sample before it reads it, in memory that all share.

    Raises:
        RuntimeError: if a worker dies. The message names the files that it read last.
    """
    notes = [torch.zeros(loader.num_workers, 2, dtype=torch.int64).share_memory_() for loader in loaders]
    for loader, note in zip(loaders, notes):
        loader.worker_init_fn = partial(_start_worker, loader.worker_init_fn, note)
    try:
        yield
    except (RuntimeError, ConnectionError, EOFError) as error:
        cause: Exception = error
        try:
            if not isinstance(error, RuntimeError):  # a worker is ending; torch raises RuntimeError when it has ended
                time.sleep(5)
        except RuntimeError as late:
            cause = late
        died = re.search(r'DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)', str(cause))
        if not died:
            raise
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would raise it again when any process ends
        for loader, note in zip(loaders, notes):
            for pid, index in note.tolist():
                if str(pid) in died[1].split(', '):
                    files = ', '.join(files_of(loader.dataset.get_data_info(index)))  # type: ignore[attr-defined]
                    raise RuntimeError(
                        f'A worker of the data loader died while it read {files}: check these files, or reduce '
                        f'num_workers if the memory was full. {str(cause).splitlines()[0]}'
                    ) from cause
        raise
