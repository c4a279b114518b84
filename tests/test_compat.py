import os
import pickle
import re
import subprocess
import sys

import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.structures import BaseDataElement, PixelData
from mmengine.utils import digit_version
from mmengine.utils.dl_utils.misc import mmcv_full_available
from mmseg.structures import SegDataSample
from torch.utils.data._utils.pin_memory import pin_memory

from cen_mm import compat
from cen_mm.datasets.transforms.packing import ModalityInputs


@pytest.mark.skipif(mmcv_full_available(), reason='full mmcv contains the compiled ops')
def test_missing_op_raises_clear_error():
    import mmcv.ops  # noqa: F401

    with pytest.raises(NotImplementedError, match="'nms' is not in mmcv-lite: install full mmcv"):
        sys.modules['mmcv._ext'].nms(1, 2)


@pytest.mark.skipif(
    digit_version(torch.__version__) < digit_version('2.6'),
    reason='older torch loads checkpoints with weights_only=False',
)
def test_weights_only_accepts_the_log_history_and_no_other_code(tmp_path):
    compat._allow_mmengine_checkpoints()  # again, because loading with onedl-mmengine removes the classes
    history = HistoryBuffer([1.0, 2.0], [1, 1])
    torch.save({'message_hub': {'log_scalars': {'loss': history}}}, tmp_path / 'history.pth')
    read = torch.load(tmp_path / 'history.pth', weights_only=True)
    assert read['message_hub']['log_scalars']['loss'].data[0].tolist() == [1.0, 2.0]
    torch.save({'history': history}, tmp_path / 'plain.pth', _use_new_zipfile_serialization=False)
    plain = (tmp_path / 'plain.pth').read_bytes()
    for module in (b'numpy.core.', b'numpy._core.'):  # as numpy 1 and numpy 2 write it
        (tmp_path / 'plain.pth').write_bytes(re.sub(rb'numpy\._?core\.', module, plain))
        read = torch.load(tmp_path / 'plain.pth', weights_only=True)
        assert read['history'].data[0].tolist() == [1.0, 2.0]
    for code in (print, HistoryBuffer.update):
        torch.save({'code': code}, tmp_path / 'code.pth')
        with pytest.raises(pickle.UnpicklingError):
            torch.load(tmp_path / 'code.pth', weights_only=True)


def test_data_loaders_pin_every_tensor_of_a_batch(monkeypatch):
    """Pinning needs a GPU, so a sum marks what would be pinned."""
    monkeypatch.setattr(torch.Tensor, 'pin_memory', lambda tensor, *_: tensor + 1)
    label = SegDataSample(gt_sem_seg=PixelData(data=torch.zeros(1, 2, 2, dtype=torch.uint8)), metainfo=dict(a=1))
    image = BaseDataElement(gt_img=torch.zeros(3, 2, 2), mask=torch.zeros(1, 2, 2))
    batch = pin_memory(dict(inputs=ModalityInputs(rgb=[torch.zeros(3, 2, 2)]), data_samples=[label, image]))
    label, image = batch['data_samples']
    assert label.metainfo == dict(a=1)
    for tensor in (batch['inputs']['rgb'][0], label.gt_sem_seg.data, image.gt_img, image.mask):
        assert (tensor == 1).all()


def test_import_does_not_change_the_process():
    """Environment, threads, launcher and allocator are unchanged; the 64 MB of a freed tensor return to the system."""
    code = """
import os, signal, cv2, torch  # cv2 sets environment variables
from pathlib import Path
from mmengine.dist import utils
pages = lambda: int(Path('/proc/self/statm').read_text().split()[1])
state = lambda: (dict(os.environ), torch.get_num_threads(), utils._init_dist_pytorch, torch.get_default_dtype(),
                 torch.get_float32_matmul_precision(), torch.initial_seed(), signal.getsignal(signal.SIGTERM))
before = state()
import cen_mm
assert state() == before
import cen_mm.apis, cen_mm.datasets, cen_mm.engine, cen_mm.segmentation  # other packages set more of them
assert state()[1:] == before[1:]
assert 'THP_MEM_ALLOC_ENABLE' not in os.environ
used = pages()
torch.ones(1 << 24)
assert os.sysconf('SC_PAGE_SIZE') * (pages() - used) < 30e6
"""
    environment = {key: value for key, value in os.environ.items() if key != 'THP_MEM_ALLOC_ENABLE'}  # set by a tool
    subprocess.run([sys.executable, '-c', code], check=True, env=environment)
