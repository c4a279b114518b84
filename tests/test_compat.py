import pickle
import platform
import subprocess
import sys

import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.utils import digit_version
from mmengine.utils.dl_utils.misc import mmcv_full_available


@pytest.mark.skipif(mmcv_full_available(), reason='full mmcv has the real ops')
def test_a_missing_op_explains_itself():
    import mmcv.ops  # noqa: F401

    with pytest.raises(NotImplementedError, match="'nms' is not in mmcv-lite: install full mmcv"):
        sys.modules['mmcv._ext'].nms(1, 2)


@pytest.mark.skipif(
    digit_version(torch.__version__) < digit_version('2.6'), reason='older torch loads mmengine checkpoints by pickle'
)
def test_log_history_in_a_checkpoint_is_read_without_unpickling_code(tmp_path):
    history = HistoryBuffer([1.0, 2.0], [1, 1])
    torch.save({'message_hub': {'log_scalars': {'loss': history}}}, tmp_path / 'history.pth')
    read = torch.load(tmp_path / 'history.pth', weights_only=True)
    assert read['message_hub']['log_scalars']['loss'].data[0].tolist() == [1.0, 2.0]
    for code in (print, HistoryBuffer.update):
        torch.save({'code': code}, tmp_path / 'code.pth')
        with pytest.raises(pickle.UnpicklingError):
            torch.load(tmp_path / 'code.pth', weights_only=True)


@pytest.mark.skipif(
    torch.cuda.is_available() or platform.libc_ver()[0] != 'glibc', reason='memory is kept on the CPU, with glibc'
)
def test_freed_memory_is_kept():
    """The 64 MB of a tensor that is gone still belong to the process, for the next one."""
    code = """
import os, torch, cen_mm
from pathlib import Path
pages = lambda: int(Path('/proc/self/statm').read_text().split()[1])
before = pages()
torch.ones(1 << 24)
assert os.sysconf('SC_PAGE_SIZE') * (pages() - before) > 60e6
"""
    subprocess.run([sys.executable, '-c', code], check=True)
