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
def test_freed_memory_is_used_again():
    """Fresh from the system, 64 MB are 16,384 pages of 4 KB."""
    code = """
import resource, torch, cen_mm
torch.ones(1 << 24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.ones(1 << 24)
assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 100
"""
    subprocess.run([sys.executable, '-c', code], check=True)
