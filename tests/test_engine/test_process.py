"""Memory settings of the process of a command."""

import platform
import subprocess
import sys

import pytest
import torch

CODE = """
import os, torch
from pathlib import Path
from cen_mm.engine import set_up_process
pages = lambda: int(Path('/proc/self/statm').read_text().split()[1])
set_up_process(tune_memory={tune_memory})
before = pages()
torch.ones(1 << 24)
print(os.sysconf('SC_PAGE_SIZE') * (pages() - before))
"""


@pytest.mark.skipif(
    torch.cuda.is_available() or platform.libc_ver()[0] != 'glibc',
    reason='freed memory is kept only on the CPU and with glibc',
)
@pytest.mark.parametrize('tune_memory', [True, False])
def test_freed_memory_is_kept_with_tune_memory(tune_memory):
    """With ``tune_memory``, the process keeps the 64 MB of a freed tensor; otherwise they return to the system."""
    code = [sys.executable, '-c', CODE.format(tune_memory=tune_memory)]
    kept = int(subprocess.run(code, check=True, capture_output=True, text=True).stdout)
    assert (kept > 60e6) == tune_memory
