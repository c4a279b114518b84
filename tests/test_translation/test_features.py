"""Weights of the metrics' networks are downloaded once per machine, and every process reports a failure."""

import hashlib
import json
import os
import subprocess
import sys
from datetime import timedelta
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
    # New processes, because forked ones wait for ever with torch 2.1
    command = [sys.executable, __file__, str(tmp_path)]
    processes = [subprocess.Popen([*command, str(rank)], stdout=subprocess.PIPE, text=True) for rank in range(2)]
    results = [json.loads(process.communicate(timeout=120)[0].splitlines()[-1]) for process in processes]
    assert [result[0] for result in results] == ['1: weights', '0: weights']
    assert [result[1] for result in results] == ['1: weights', '1: weights']
    for rank, result in enumerate(results):
        assert result[2].startswith(f'1: The weights file {tmp_path}/machine_{rank}/other.pth does not exist and cann')
        assert f"No such file or directory: '{tmp_path}/source_0-{HASH}.pth'" in result[2]
        assert f'cannot be downloaded (invalid hash value (expected "{HASH}"' in result[3]
        assert not (tmp_path / f'machine_{rank}/cut.pth').exists()


if __name__ == '__main__':
    print(json.dumps(fetch_in_process(int(sys.argv[2]), Path(sys.argv[1]))))
