"""Weights of the metrics' networks are downloaded once per machine, and every process reports a failure."""

import hashlib
import os
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

pytest.importorskip('mmagic')

from cen_mm.translation.features import fetch

HASH = hashlib.sha256(b'weights').hexdigest()[:8]  # of the content, in the name of the file


def fetch_in_process(rank: int, folder: Path) -> list[str]:
    """Fetches weights as one of two processes; returns the number of downloads, and the content or the error."""
    init_method, downloads, results = f'file://{folder}/store', [], []
    torch.distributed.init_process_group('gloo', init_method, timedelta(seconds=60), world_size=2, rank=rank)
    download = torch.hub.download_url_to_file
    torch.hub.download_url_to_file = lambda *args, **kwargs: (downloads.append(args), download(*args, **kwargs))
    for local_rank, path, source in (
        (rank, 'shared/weights.pth', f'source-{HASH}.pth'),  # one machine
        (0, f'machine_{rank}/weights.pth', f'source-{HASH}.pth'),  # two machines without a shared disk
        (0, f'machine_{rank}/other.pth', f'source_{rank}-{HASH}.pth'),  # the same, and the first one cannot download
        (0, f'machine_{rank}/cut.pth', f'cut-{HASH}.pth'),  # the connection was closed too early
    ):
        downloads.clear()
        os.environ['LOCAL_RANK'] = str(local_rank)
        try:
            content = Path(fetch(str(folder / path), f'file://{folder / source}')).read_text()
        except FileNotFoundError as error:
            content = str(error)
        results.append(f'{len(downloads)}: {content}')
    torch.distributed.destroy_process_group()
    return results


def test_weights_are_downloaded_once_per_machine_and_failures_end_every_process(tmp_path):
    for name in ('source', 'source_1'):
        (tmp_path / f'{name}-{HASH}.pth').write_text('weights')
    (tmp_path / f'cut-{HASH}.pth').write_text('wei')
    with ProcessPoolExecutor(2, get_context('fork')) as pool:  # spawned processes would import everything again
        results = list(pool.map(partial(fetch_in_process, folder=tmp_path), range(2)))
    assert [result[0] for result in results] == ['1: weights', '0: weights']
    assert [result[1] for result in results] == ['1: weights', '1: weights']
    for rank, result in enumerate(results):
        assert result[2].startswith(f'1: The weights file {tmp_path}/machine_{rank}/other.pth does not exist and cann')
        assert f"No such file or directory: '{tmp_path}/source_0-{HASH}.pth'" in result[2]
        assert f'cannot be downloaded (invalid hash value (expected "{HASH}"' in result[3]
        assert not (tmp_path / f'machine_{rank}/cut.pth').exists()
