"""Two processes train and evaluate as one process does with the joined batch, and end when one of them is killed.

tools/dist_train.sh runs this file, too, as the train.py of the test.
"""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.dist import get_rank, get_world_size
from mmengine.logging import MMLogger
from mmengine.model import MMDistributedDataParallel, MMSeparateDistributedDataParallel
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import DATA_SAMPLERS, MODELS, init_default_scope
from mmengine.structures import BaseDataElement, PixelData
from mmseg.structures import SegDataSample
from torch import nn

from cen_mm.exchange import exchanging_norms
from cen_mm.segmentation import MultimodalIoUMetric

ROOT = Path(__file__).parents[1]
HAS_MMAGIC = importlib.util.find_spec('mmagic') is not None
TESTED = 5  # number of test images, which two processes cannot share equally


def own_part(batch: torch.Tensor) -> torch.Tensor:
    """Returns the samples of this process."""
    return batch.chunk(get_world_size())[get_rank()]


def replace_some_channels(model: nn.Module) -> None:
    """Sets some scales of every exchanging norm below the threshold."""
    with torch.no_grad():
        for _, norm in exchanging_norms(model):
            norm.norms[0].weight[:3] = 0.001


def train_segmentation(cfg: Config, device: str) -> dict[str, torch.Tensor]:
    """Losses and gradients of one step, in float64. On the GPU, the batch norms learn statistics."""
    init_default_scope('mmseg')
    torch.manual_seed(0)
    cfg.model.backbone.norm_eval = device == 'cpu'
    model = MODELS.build(cfg.model).double().to(device).train()
    replace_some_channels(model)
    inputs, labels = torch.randn(4, 6, 32, 64).double(), torch.randint(0, 17, (4, 1, 32, 64))
    labels[..., :8] = 255
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label.to(device))) for label in own_part(labels)]
    if get_world_size() > 1:
        if device == 'cuda':
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        model = MMDistributedDataParallel(model)
    losses = model(own_part(inputs).to(device), samples, mode='loss')
    penalty, total = losses['loss_sparsity'], sum(loss for name, loss in losses.items() if 'loss' in name)
    total.backward()
    gradients = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    return dict(loss=total.detach().cpu(), penalty=penalty.detach().cpu(), gradients=gradients.cpu())


def drop_modalities(cfg: Config) -> list[tuple[tuple[str, ...], torch.Tensor]]:
    """Names of the branches and gradients in eight steps with one modality each."""
    model = MODELS.build(dict(cfg.model, modality_dropout=1.0)).double().train()
    if get_world_size() > 1:
        model = MMDistributedDataParallel(model, find_unused_parameters=True)
    steps = []
    for _ in range(8):
        model.zero_grad()
        labels = torch.randint(0, 17, (2, 1, 32, 64))
        samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
        losses = model(torch.randn(2, 6, 32, 64).double(), samples, mode='loss')
        sum(loss for name, loss in losses.items() if 'loss' in name).backward()
        gradients = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        steps.append((tuple(name for name in losses if name.endswith('loss_ce')), gradients))
    return steps


def train_translation(cfg: Config) -> dict[str, torch.Tensor]:
    """Losses of the first step, and the changes of both networks after two steps of SGD, in float64."""
    init_default_scope('mmagic')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).double().train()
    replace_some_channels(model)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizers = {
        name: OptimWrapper(torch.optim.SGD(getattr(model, name).parameters(), lr=0.1))
        for name in ('generators', 'discriminators')
    }
    inputs, targets = torch.rand(4, 6, 32, 64).double() * 2 - 1, torch.rand(4, 3, 32, 64).double() * 2 - 1
    mask = torch.ones(32, 64).double()[None]
    mask[..., :8] = 0
    samples = [BaseDataElement(gt_img=target, mask=mask) for target in own_part(targets)]
    parameters = dict(model.named_parameters())
    if get_world_size() > 1:
        model = MMSeparateDistributedDataParallel(model, broadcast_buffers=False, find_unused_parameters=True)
    steps = [
        model.train_step(dict(inputs=list(own_part(inputs)), data_samples=samples), OptimWrapperDict(**optimizers))
        for _ in range(2)
    ]
    changes = {
        network: torch.cat(
            [(p.detach() - before[name]).flatten() for name, p in parameters.items() if network in name]
        )
        for network in ('generators', 'discriminators')
    }
    return dict(loss=steps[0]['loss_gen'] + steps[0]['loss_disc'], penalty=steps[0]['loss_sparsity'], **changes)


def evaluate(metric, sampler: dict, sample_of) -> dict[str, float]:
    """Scores of random predictions, which the sampler of the config distributes to the processes."""
    indices = DATA_SAMPLERS.build(dict(sampler, dataset=range(TESTED)))
    for i in indices:
        metric.process({}, [sample_of(torch.Generator().manual_seed(i), i)])
    scores = metric.evaluate(TESTED)
    scores['images'] = len(indices)
    return scores


def evaluate_segmentation(sampler: dict) -> dict[str, float]:
    MMLogger.get_instance('test_distributed')
    metric = MultimodalIoUMetric()
    metric.dataset_meta = dict(classes=list('abc'))

    def sample_of(rng: torch.Generator, i: int) -> dict:
        label, *predictions = torch.randint(0, 3, (4, 1, 8, 8), generator=rng)
        predictions = dict(zip(('data', 'rgb', 'depth'), predictions))
        return dict(modalities=('rgb', 'depth'), gt_sem_seg=dict(data=label), pred_sem_seg=predictions)

    return evaluate(metric, sampler, sample_of)


def evaluate_translation(sampler: dict) -> dict[str, float]:
    from cen_mm.translation import TranslationMetric

    @MODELS.register_module(force=True)
    class MeanRed(nn.Module):
        scores = ('FD-Red', 'KD-Red')

        def forward(self, images):
            return images[:, :1].float().mean((2, 3)).expand(-1, 2)

    MMLogger.get_instance('test_distributed')

    def sample_of(rng: torch.Generator, i: int) -> dict:
        target, *branches = torch.rand(4, 3, 16, 16, generator=rng) * 2 - 1
        branches = dict(zip(('reshading', 'edge_texture', 'ensemble'), branches))
        return dict(branches=branches, **dict(gt_img=target) if i != 1 else {})  # one sample without a target

    return evaluate(TranslationMetric(features=dict(type='MeanRed')), sampler, sample_of)


def results_of(folder: Path, device: str) -> dict[str, dict]:
    """What this process computes, by task."""
    cfg = Config.fromfile(folder / 'segmentation.py')
    results = dict(segmentation=train_segmentation(cfg, device))
    if device == 'cpu':
        results['segmentation']['scores'] = evaluate_segmentation(cfg.test_dataloader.sampler)
        torch.manual_seed(get_rank())
        results['dropout'] = drop_modalities(cfg)
    if device == 'cpu' and HAS_MMAGIC:
        cfg = Config.fromfile(folder / 'translation.py')
        results['translation'] = train_translation(cfg)
        results['translation']['scores'] = evaluate_translation(cfg.test_dataloader.sampler)
    return results


def run_one_of_two(folder: Path, device: str) -> None:
    """Saves the results. Then the second process is killed while the first one does not respond."""
    torch.distributed.init_process_group('gloo')
    torch.save(results_of(folder, device), folder / f'{get_rank()}.pth')
    torch.distributed.barrier()
    if get_rank() == 1:
        (folder / 'killed').touch()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(600)


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """Folder with the configs of two small models and the script of two processes."""
    out = tmp_path_factory.mktemp('distributed')
    shutil.copy(ROOT / 'tools/dist_train.sh', out)
    shutil.copy(__file__, out / 'train.py')
    cfg = Config.fromfile(ROOT / 'configs/cen_refinenet_r18_rooms.py')
    cfg.model.backbone.base_channels = 8
    cfg.model.neck.update(in_channels=[8, 16, 32, 64], channels=8, top_channels=8, dropout_ratio=0)
    cfg.model.decode_head.update(in_channels=8, dropout_ratio=0)
    cfg.dump(out / 'segmentation.py')
    if HAS_MMAGIC:
        cfg = Config.fromfile(ROOT / 'configs/cen_unet_shade-texture2rgb_rooms.py')
        cfg.model.generator.update(base_channels=8, num_levels=5, dropout_ratio=0)
        cfg.model.discriminator.base_channels = 8
        cfg.dump(out / 'translation.py')
    return out


def run_two(folder: Path, device: str, **variables: str) -> tuple[str, list[dict]]:
    """Runs two processes, one of which kills itself at the end; returns the output and the results."""
    env = dict(os.environ, PATH=f'{Path(sys.executable).parent}:{os.environ["PATH"]}', **variables)
    command = ['bash', folder / 'dist_train.sh', folder, '2', device]
    for name in ('killed', '0.pth', '1.pth'):  # of another run
        (folder / name).unlink(missing_ok=True)
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    done = subprocess.run(command, env=env, timeout=600, **pipes)  # the other one must not wait for the killed one
    assert done.returncode != 0
    assert (folder / 'killed').exists(), done.stdout[-4000:]
    return done.stdout, [torch.load(folder / f'{rank}.pth') for rank in range(2)]


@pytest.fixture(scope='module')
def two_processes(folder):
    return run_two(folder, 'cpu', CUDA_VISIBLE_DEVICES='')


@pytest.fixture(scope='module')
def one_process(folder) -> dict[str, dict]:
    return results_of(folder, 'cpu')


def check_step(first: dict, second: dict, one: dict, networks: tuple[str, ...]) -> None:
    """The mean loss, the penalty and the updates of two processes equal those of one process."""
    close = dict(rtol=1e-8, atol=1e-12)
    torch.testing.assert_close((first['loss'] + second['loss']) / 2, one['loss'], **close)
    assert one['penalty'] > 0
    for two in (first, second):
        torch.testing.assert_close(two['penalty'], one['penalty'], **close)
        for name in networks:
            assert one[name].norm() > 0
            torch.testing.assert_close(two[name], one[name], **close)
    assert (first['loss'] - second['loss']).abs() > 1e-4  # they had different images


@pytest.mark.parametrize(
    ('task', 'networks'), [('segmentation', ('gradients',)), ('translation', ('generators', 'discriminators'))]
)
def test_training_and_scores_equal_one_process(two_processes, one_process, task, networks):
    if task == 'translation':
        pytest.importorskip('mmagic')
    (first, second), one = [result[task] for result in two_processes[1]], one_process[task]
    check_step(first, second, one, networks)
    assert (first['scores'].pop('images'), second['scores'].pop('images'), one['scores'].pop('images')) == (3, 3, 5)
    assert len(one['scores']) >= 9
    for name, score in one['scores'].items():
        assert first['scores'][name] == second['scores'][name] == pytest.approx(score, rel=1e-9, nan_ok=True), name


def test_all_processes_drop_the_same_modality(two_processes):
    """Otherwise, a parameter would get gradients of some processes only, and the names in the log would differ."""
    first, second = (result['dropout'] for result in two_processes[1])
    assert [names for names, _ in first] == [names for names, _ in second]
    assert {names[0] for names, _ in first} == {'rgb.loss_ce', 'depth.loss_ce'}
    for (_, ours), (_, theirs) in zip(first, second):
        assert ours.norm() > 0
        torch.testing.assert_close(ours, theirs)


def test_killed_process_ends_the_other_with_the_reason(two_processes):
    output, _ = two_processes
    assert 'Signal 9 (SIGKILL) received by PID' in output
    assert 'local_rank: 1' in output


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='there is no GPU')
def test_synchronized_batch_norms_of_every_modality(folder):
    """Two processes share one GPU; batch norms with the statistics of both equal those of the joined batch."""
    _, results = run_two(folder, 'cuda')
    first, second, one = (result['segmentation'] for result in (*results, results_of(folder, 'cuda')))
    check_step(first, second, one, ('gradients',))


if __name__ == '__main__':
    run_one_of_two(Path(sys.argv[1]), sys.argv[-1])
