import pickle
import subprocess
import sys
from pathlib import Path

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


HUGE_PAGES = Path('/sys/kernel/mm/transparent_hugepage/enabled')


@pytest.mark.skipif(
    not HUGE_PAGES.exists() or '[never]' in HUGE_PAGES.read_text(), reason='this machine has small pages alone'
)
def test_large_tensors_come_in_large_pages():
    """Of 4 KB, 64 MB would be 16,384 pages."""
    code = """
import resource, torch, cen_mm
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
x = torch.ones(1 << 24)
assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 4000
"""
    subprocess.run([sys.executable, '-c', code], check=True)
