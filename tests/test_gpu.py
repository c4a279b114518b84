"""Training steps and inference on a GPU agree with the CPU, compiled with eager code, two processes with one.

Without a GPU, the fast ones run on the CPU; `CEN_MM_TEST_DEVICE=cpu` runs all, and the compiled ones then need a C++
compiler.
"""

import copy
import json
import logging
import os
import runpy
import subprocess
import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel, MMSeparateDistributedDataParallel
from mmengine.optim import OptimWrapperDict, build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import BaseDataElement, PixelData
from mmengine.utils import digit_version
from mmseg.structures import SegDataSample

from cen_mm.engine import CheckpointHook
from cen_mm.exchange import exchanging_norms
from cen_mm.segmentation import MultimodalIoUMetric

ROOT = Path(__file__).parents[1]
DEVICE = os.environ.get('CEN_MM_TEST_DEVICE') or ('cuda' if torch.cuda.is_available() else 'cpu')
pytestmark = pytest.mark.gpu
slow = pytest.mark.skipif(
    DEVICE == 'cpu' and 'CEN_MM_TEST_DEVICE' not in os.environ, reason='there is no GPU, and it is slow without one'
)
needs_cuda = pytest.mark.skipif(DEVICE != 'cuda', reason='the CPU has no streams')
# Data type of autocast (float64: of the network), loss scale, and relative tolerance of the gradients. In float32, a
# few activations near zero may change their sign, and with it the gradient of a ReLU.
FLOAT32 = 2e-2
PRECISIONS = {
    'float64': (torch.float64, 1.0, 1e-6),
    'float32': (None, 1.0, FLOAT32),
    'tf32': (None, 1.0, 0.1),  # its mantissa has as many bits as that of float16
    'bfloat16': (torch.bfloat16, 1.0, 0.35),
    'float16': (torch.float16, 1024.0, 0.1),
}
NAMES = ('rgb', 'depth', 'normal')


class Segmentation:
    """Small network with 17 classes, without random operations, and its batches."""

    wrapper = partial(MMDistributedDataParallel, broadcast_buffers=False)

    def __init__(self, config, num_modalities=2, **backbone):
        self.cfg = config('cen_refinenet_r18_rooms_rgb-depth-normal.py')
        self.names = NAMES[:num_modalities]
        model = self.cfg.model
        model.data_preprocessor.modalities = {name: model.data_preprocessor.modalities[name] for name in self.names}
        model.backbone.update(backbone)
        model.neck.dropout_ratio = model.decode_head.dropout_ratio = 0.0
        self.cfg.optim_wrapper.optimizer = dict(type='SGD', lr=1e-2)
        self.cfg.optim_wrapper.clip_grad = None

    def batch(self, images=2, height=64, width=96):
        labels = torch.randint(0, 17, (images, 1, height, width))
        return torch.randn(images, 3 * len(self.names), height, width), labels

    @staticmethod
    def loss(model, inputs, labels):
        samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
        return model.parse_losses(model.loss(inputs, samples))[0]

    def data(self, inputs, labels):
        """The batch in the format of the data loader."""
        images = {name: list(part) for name, part in zip(self.names, inputs.chunk(len(self.names), dim=1))}
        return dict(inputs=images, data_samples=[SegDataSample(gt_sem_seg=PixelData(data=x)) for x in labels])


class Translation:
    """Small network without random operations, and its batches."""

    wrapper = partial(MMSeparateDistributedDataParallel, broadcast_buffers=False, find_unused_parameters=True)

    def __init__(self, config, num_modalities=2):
        pytest.importorskip('mmagic')
        init_default_scope('mmagic')
        self.cfg = config('cen_unet_shade-texture2rgb_rooms.py')
        self.cfg.model.modalities = list(NAMES[:num_modalities])
        self.cfg.model.generator.update(dropout_ratio=0.0, num_levels=5)
        for wrapper in (self.cfg.optim_wrapper.generators, self.cfg.optim_wrapper.discriminators):
            wrapper.optimizer = dict(type='SGD', lr=1e-4)

    def batch(self, images=2, height=64, width=96):
        channels = 3 * len(self.cfg.model.modalities)
        return tuple(torch.rand(images, n, height, width) * 2 - 1 for n in (channels, 3))

    @staticmethod
    def loss(model, inputs, target):
        images = model.branches(inputs).values()
        return sum((image - target).abs().mean() for image in images) + model.sparsity(model.generators)

    def data(self, inputs, target):
        return dict(inputs=inputs, data_samples=[BaseDataElement(gt_img=image) for image in target])


@pytest.fixture(params=[Segmentation, Translation], ids=lambda task: task.__name__)
def task(request, config):
    """Returns a function that prepares a task."""
    return partial(request.param, config)


@pytest.fixture(autouse=True)
def _precise_convolutions(monkeypatch):
    """Switches off TF32 convolutions, which torch allows by default, and what train.py sets in this process."""
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)
    monkeypatch.setattr(torch.backends.cudnn, 'benchmark', False)


@pytest.fixture(params=PRECISIONS)
def precision(request):
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision('high' if request.param == 'tf32' else 'highest')
    torch.backends.cudnn.allow_tf32 = request.param == 'tf32'
    yield PRECISIONS[request.param]
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


@pytest.fixture
def float16(monkeypatch):
    """Lets mmengine's AmpOptimWrapper run on the CPU, where torch supports float16 and its loss scaler."""
    if DEVICE == 'cpu':
        module = 'mmengine.optim.optimizer.amp_optimizer_wrapper'
        monkeypatch.setattr(f'{module}.is_cuda_available', lambda: True)
        monkeypatch.setattr(f'{module}.GradScaler', partial(torch.amp.GradScaler, 'cpu'))
        monkeypatch.setattr('mmengine.runner.amp.autocast', partial(torch.autocast, 'cpu'))


def autocast(device, dtype):
    return nullcontext() if dtype in (None, torch.float64) else torch.autocast(device, dtype)


def in_float64(part):
    return part.double() if torch.is_floating_point(part) else part


def build(cfg) -> torch.nn.Module:
    """Builds a model in training mode. A quarter of the channels is replaced, others in each modality."""
    model = MODELS.build(cfg.model).train()
    with torch.no_grad():
        for _, norm in exchanging_norms(model):
            for i, each in enumerate(norm.norms):
                each.weight[i::4] = 1e-3
            assert norm.replaced.any(1).all()
            assert not norm.replaced.all(0).any()
    return model


def gradients(model, loss, batch, dtype=None, scale=1.0) -> torch.Tensor:
    """Gradients of all parameters after one step, concatenated."""
    model.zero_grad()
    with autocast(batch[0].device.type, dtype):
        value = loss(model, *batch)
    (scale * value).backward()
    return torch.cat([(p.grad / scale).flatten().cpu() for p in model.parameters() if p.grad is not None])


def parameters(model) -> torch.Tensor:
    return torch.cat([p.detach().flatten().cpu() for p in model.parameters()])


def assert_close(ours, want, tolerance):
    assert torch.isfinite(ours).all()
    assert (ours - want).norm() <= tolerance * want.norm()


@slow
@pytest.mark.parametrize('num_modalities', [2, 3])
def test_training_step(task, precision, num_modalities):
    task, (dtype, scale, tolerance) = task(num_modalities), precision
    model, batch = build(task.cfg), task.batch()
    if dtype == torch.float64:
        model, batch = model.double(), [in_float64(part) for part in batch]
    want = gradients(model, task.loss, batch)
    ours = gradients(model.to(DEVICE), task.loss, [part.to(DEVICE) for part in batch], dtype, scale)
    assert_close(ours, want, tolerance)


@torch.no_grad()
def test_cached_inference(config, precision):
    dtype, _, tolerance = precision
    if DEVICE == 'cpu' and dtype == torch.float16 and digit_version(torch.__version__) < digit_version('2.4'):
        pytest.skip('older torch has no autocast to float16 on the CPU')
    model = build(config('cen_refinenet_r18_rooms.py')).eval()
    inputs = torch.randn(1, 6, 64, 96)
    if dtype == torch.float64:
        model, inputs = model.double(), inputs.double()
    want = model.branches(inputs)
    model.to(DEVICE)
    for _ in range(2):  # the second run uses the cached constants
        with autocast(DEVICE, dtype):
            ours = model.branches(inputs.to(DEVICE))
        for name, logits in ours.items():
            # Gradients only need the limit of float32.
            assert_close(logits.to(want[name].dtype).cpu(), want[name], 2e-3 if tolerance == FLOAT32 else tolerance)


@needs_cuda
def test_training_step_never_waits(task):
    """torch refuses what makes the host wait for the GPU. The first step may, because cuDNN selects its algorithms."""
    task = task()
    model, batch = build(task.cfg).to(DEVICE), [part.to(DEVICE) for part in task.batch()]
    for mode in ('default', 'error'):
        torch.cuda.set_sync_debug_mode(mode)
        try:
            task.loss(model, *batch).backward()
        finally:
            torch.cuda.set_sync_debug_mode('default')


@needs_cuda
@torch.no_grad()
def test_captured_inference_follows_the_weights(config):
    """A CUDA graph computes the constants of the norms again, instead of reading those in the cache."""
    model, inputs = build(config('cen_refinenet_r18_rooms.py')).eval().to(DEVICE), torch.randn(1, 6, 64, 96).to(DEVICE)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # torch captures what has run before on another stream
        for _ in range(3):
            before = model.branches(inputs)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        ours = model.branches(inputs)
    for _, norm in exchanging_norms(model):
        norm.norms[0].weight.copy_(norm.norms[0].weight.flip(0))  # other channels are replaced
    graph.replay()
    for name, want in model.branches(inputs).items():
        assert_close(ours[name], want, 2e-3)
        assert not torch.allclose(want, before[name], rtol=0.01)


@slow
def test_float16_with_loss_scaler(task, float16):
    """``train.py --amp --amp-dtype float16``: the scale settles, and then a step changes the parameters as in float32.

    The learning rate is zero until then, because a network may skip its step while the scale is too large.
    """
    task = task()
    data, changes = task.data(*task.batch()), []
    state = build(task.cfg).state_dict()
    for dtype in (None, 'float16'):
        model, optim_wrapper = build(task.cfg), copy.deepcopy(task.cfg.optim_wrapper)
        model.load_state_dict(state)
        if dtype is not None:
            model.to(DEVICE)
            runpy.run_path(str(ROOT / 'tools/train.py'))['enable_amp'](optim_wrapper, dtype)
        wrapper = build_optim_wrapper(model, optim_wrapper)
        wrappers = wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]
        groups = [group for part in wrappers for group in part.param_groups]
        rates = [group['lr'] for group in groups]
        for group in groups:
            group['lr'] = 0.0
        for _ in range(8 if dtype else 0):
            model.train_step(copy.deepcopy(data), wrapper)
        before = parameters(model)
        for group, rate in zip(groups, rates):
            group['lr'] = rate
        model.train_step(copy.deepcopy(data), wrapper)
        changes.append(parameters(model) - before)
    assert all(part.loss_scaler.get_scale() >= 1 for part in wrappers)
    assert_close(changes[1], changes[0], 0.1)


@slow
@pytest.mark.parametrize('dtype', [None, torch.bfloat16], ids=str)
@torch.no_grad()
def test_compiled_inference(task, dtype):
    """With inductor and dynamic shapes, without graph breaks."""
    task = task()
    model = build(task.cfg).eval().to(DEVICE)
    compiled = torch.compile(model.branches, fullgraph=True, dynamic=True)
    for images, height, width in ((2, 64, 96), (3, 96, 128)):
        inputs = task.batch(images, height, width)[0].to(DEVICE)
        with autocast(DEVICE, dtype):
            ours, want = compiled(inputs), model.branches(inputs)
        for name, image in want.items():
            assert_close(ours[name].float(), image.float(), 2e-3 if dtype is None else 0.05)


@slow
@pytest.mark.parametrize('dtype', [None, torch.bfloat16], ids=str)
def test_compiled_training(task, dtype):
    """With inductor and dynamic shapes, without graph breaks. Another size is no reason to compile again."""
    task = task()
    model = build(task.cfg).to(DEVICE)
    compiled = torch.compile(task.loss, fullgraph=True, dynamic=True)
    for height, width in ((64, 96), (96, 128)):
        batch = [part.to(DEVICE) for part in task.batch(2, height, width)]
        want = gradients(model, task.loss, batch, dtype)
        assert_close(gradients(model, compiled, batch, dtype), want, FLOAT32 if dtype is None else 0.35)


@slow
def test_training_with_compile_in_the_config(run_tool, made_nyudv2, tmp_path, monkeypatch):
    """mmengine compiles ``train_step``, which contains the optimizer, in several graphs."""
    monkeypatch.setenv('CEN_MM_NYUDV2', str(made_nyudv2))
    loader = dict(num_workers=0, persistent_workers=False)
    states = []
    for compile_cfg in (None, dict(backend='eager')):
        cfg = Config.fromfile(ROOT / 'configs/cen_refinenet_r18_nyudv2.py')
        cfg.model.backbone.init_cfg = None
        for dataloader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
            dataloader.update(loader)
        cfg.train_dataloader.batch_size = 2
        cfg.train_cfg.update(max_epochs=1, val_interval=5)
        cfg.compile = compile_cfg
        cfg.dump(tmp_path / 'config.py')
        log = run_tool('train.py', tmp_path / 'config.py', '--work-dir', tmp_path / 'work', '--verbose')
        assert ('Model has been "compiled"' in log) == bool(compile_cfg)
        states.append(torch.load(tmp_path / 'work/epoch_1.pth', map_location='cpu')['state_dict'])
    for key, value in states[0].items():
        torch.testing.assert_close(states[1][key], value, rtol=1e-3, atol=1e-4, msg=key)


@slow
def test_tools_with_amp_workers_accumulation_and_resuming(run_tool, made_nyudv2, tmp_path, monkeypatch):
    """One process resumes a run of dist_train.sh, which uses NCCL on a GPU; test.py repeats the last scores."""
    monkeypatch.setenv('CEN_MM_NYUDV2', str(made_nyudv2))
    config, work_dir = ROOT / 'configs/cen_refinenet_r18_nyudv2.py', tmp_path / 'work'
    options = ['--cfg-options', 'model.backbone.init_cfg=None', 'train_dataloader.batch_size=2']
    options += [f'{split}_dataloader.num_workers=2' for split in ('train', 'val', 'test')]
    options += ['model_wrapper_cfg.device_ids=None'] * (DEVICE == 'cpu')
    train = ['--work-dir', work_dir, '--amp', '--resume', *options, 'optim_wrapper.accumulative_counts=2']
    run_tool('dist_train.sh', config, 1, *train[:3], *train[4:], 'train_cfg.max_epochs=1', 'train_cfg.val_interval=5')
    log = run_tool('train.py', config, *train, 'train_cfg.max_epochs=2', 'train_cfg.val_interval=2')
    assert 'resumed at epoch 1, iteration 2' in log
    checkpoint = torch.load(work_dir / 'epoch_2.pth', map_location='cpu', weights_only=False)
    assert {int(state['step']) for state in checkpoint['optimizer']['state'].values()} == {2}  # of 4 iterations
    run_tool('test.py', config, work_dir / 'epoch_2.pth', '--work-dir', tmp_path / 'test', *options)
    logged, (tested,) = max(work_dir.glob('*/vis_data/2*.json')), (tmp_path / 'test').glob('*/2*.json')
    (validated,) = [row for row in map(json.loads, logged.read_text().splitlines()) if 'mIoU' in row]
    assert json.loads(tested.read_text())['mIoU'] == pytest.approx(validated['mIoU'], abs=0.01)


def test_metric_is_deterministic():
    """``randomness.deterministic=True`` lets torch refuse what is not."""
    metric, label = MultimodalIoUMetric(), torch.randint(0, 4, (1, 30, 40), device=DEVICE)
    metric.dataset_meta = dict(classes=list('abcd'))
    prediction = dict(data=label.clone(), rgb=label.flip(1))
    torch.use_deterministic_algorithms(True)
    try:
        metric.process({}, [dict(modalities=['rgb'], gt_sem_seg=dict(data=label), pred_sem_seg=prediction)])
    finally:
        torch.use_deterministic_algorithms(False)
    assert metric.evaluate(1)['mIoU'] == 100


def test_resumed_adamw_counts_its_steps_on_the_cpu(tmp_path):
    """A count on the GPU would be read back for every parameter in every step."""

    def build():
        weight = torch.nn.Parameter(torch.ones(3, device=DEVICE))
        return weight, torch.optim.AdamW([weight], lr=0.1)

    def step(weight, optimizer):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
        return weight.detach().clone()

    weight, optimizer = build()
    start = step(weight, optimizer)
    state = dict(meta={}, state_dict={}, message_hub={}, optimizer=dict(generators=optimizer.state_dict()))
    torch.save(state, tmp_path / 'state.pth')
    want = step(weight, optimizer)

    checkpoint = torch.load(tmp_path / 'state.pth', map_location=DEVICE)  # as mmengine does
    runner = SimpleNamespace(_resume=True, _load_from='', model=torch.nn.Identity(), param_schedulers=None)
    runner.optim_wrapper, runner.logger = SimpleNamespace(param_groups=[]), logging.getLogger()
    runner._train_loop = runner._test_loop = None
    CheckpointHook().after_load_checkpoint(runner, checkpoint)
    weight, optimizer = build()
    weight.data.copy_(start)
    optimizer.load_state_dict(checkpoint['optimizer']['generators'])
    (resumed,) = optimizer.state.values()
    assert (resumed['step'].device.type, resumed['exp_avg'].device.type) == ('cpu', DEVICE)
    assert torch.equal(step(weight, optimizer), want)


@slow
def test_two_processes_equal_one_with_the_joined_batch(config, tmp_path):
    """On one GPU with gloo, on two with NCCL. The statistics of the batch norms are constant, as with R101."""
    check_two_processes(Segmentation(config, norm_eval=True), tmp_path)


@slow
def test_two_processes_translate_like_one(config, tmp_path):
    check_two_processes(Translation(config), tmp_path)


def check_two_processes(task, folder):
    model, batch = build(task.cfg), task.batch(4)
    torch.save(dict(state=model.state_dict(), halves=[task.data(*part) for part in zip(*(b.chunk(2) for b in batch))]),
               folder / 'start.pth')  # fmt: skip
    task.cfg.dump(folder / 'config.py')
    before = parameters(model)
    model.to(DEVICE).train_step(task.data(*batch), build_optim_wrapper(model, task.cfg.optim_wrapper))
    want = parameters(model) - before
    command = [sys.executable, __file__, type(task).__name__, str(folder)]
    processes = [subprocess.Popen([*command, str(rank)], cwd=ROOT) for rank in range(2)]
    try:
        assert [process.wait(300) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()  # if the other one has failed
    for rank in range(2):
        ours = torch.load(folder / f'{rank}.pth') - before
        assert_close(ours, want, FLOAT32)


def train_in_process(name, folder, rank):
    """Makes one training step with half of the batch, and writes the parameters."""
    import cen_mm

    torch.backends.cudnn.allow_tf32 = False
    several = DEVICE == 'cuda' and torch.cuda.device_count() > 1
    device = torch.device(DEVICE, rank if several else 0)
    if DEVICE == 'cuda':
        torch.cuda.set_device(device)
    torch.distributed.init_process_group(
        'nccl' if several else 'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2
    )
    cfg = Config.fromfile(folder / 'config.py')
    init_default_scope(cfg.default_scope)
    if name == 'Translation':
        import cen_mm.translation  # noqa: F401
    start = torch.load(folder / 'start.pth', weights_only=False)
    model = build(cfg)
    model.load_state_dict(start['state'])
    model.to(device)
    devices = None if DEVICE == 'cpu' else [device]
    wrapped = globals()[name].wrapper(model, device_ids=devices)
    wrapped.train_step(start['halves'][rank], build_optim_wrapper(wrapped, cfg.optim_wrapper))
    torch.save(parameters(model), folder / f'{rank}.pth')
    torch.distributed.destroy_process_group()


if __name__ == '__main__':
    train_in_process(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
