"""The translation model: modalities, test modes, and the GAN training step with its options."""

import copy

import pytest
import torch

pytest.importorskip('mmagic')

from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import BaseDataElement
from mmengine.utils import digit_version
from torch import nn
from torch._dynamo.testing import CompileCounter

import cen_mm.translation
from cen_mm.engine import BFloat16OptimWrapper
from cen_mm.exchange import stack_modalities
from cen_mm.translation.losses import discriminator_loss
from cen_mm.translation.model import l1_loss

NAMES = ['reshading', 'edge_texture', 'normal', 'depth_zbuffer']
GENERATOR = dict(type='cen_mm.CENUNetGenerator', base_channels=4, num_levels=5)


@pytest.fixture(autouse=True)
def _mmagic_scope():
    init_default_scope('mmagic')
    for name in ('iter', 'max_iters'):
        MessageHub.get_current_instance().runtime_info.pop(name, None)


@pytest.fixture
def build(config):
    """Returns a function that builds a narrow model of 5 levels; image sides must be multiples of 32."""

    def make(modalities: int = 2, **options):
        cfg = config('_base_/models/cen_unet.py').model
        cfg.modalities = NAMES[:modalities]
        cfg.generator = GENERATOR
        cfg.discriminator.base_channels = 4
        cfg.update(options)
        return MODELS.build(cfg)

    return make


def wrappers_of(model, kind=OptimWrapper, **options) -> OptimWrapperDict:
    return OptimWrapperDict(
        **{
            name: kind(torch.optim.Adam(getattr(model, name).parameters(), lr=2e-4, betas=(0.5, 0.999)), **options)
            for name in ('generators', 'discriminators')
        }
    )


def batch_of(modalities: int = 2, batch: int = 2, seed: int = 0) -> dict:
    """Random batch in the format of the data loader."""
    generator = torch.Generator().manual_seed(seed)
    image = lambda channels: torch.rand(channels, 32, 64, generator=generator) * 2 - 1  # noqa: E731
    names = NAMES[:modalities]
    return dict(
        inputs=[image(3 * modalities) for _ in range(batch)],
        data_samples=[BaseDataElement(gt_img=image(3), metainfo=dict(modalities=names)) for _ in range(batch)],
    )


def state_of(module: nn.Module) -> dict:
    return {key: value.clone() for key, value in module.state_dict().items()}


def changed(module: nn.Module, before: dict, part: str = '') -> bool:
    """Whether a parameter or buffer whose name contains ``part`` has changed."""
    return any(part in key and not torch.equal(value, before[key]) for key, value in module.state_dict().items())


def set_iteration(iteration: int) -> None:
    MessageHub.get_current_instance().update_info('iter', iteration)


@pytest.mark.parametrize('modalities', [1, 3, 4])
def test_train_and_test_with_any_number_of_modalities(build, modalities):
    model = build(modalities)
    wrappers = wrappers_of(model)
    log = model.train_step(batch_of(modalities), wrappers)
    assert set(log) == {'loss_disc', 'loss_gen', 'loss_gan', 'loss_pixel', 'loss_sparsity'}
    torch.testing.assert_close(log['loss_gen'], log['loss_gan'] + log['loss_pixel'] + log['loss_sparsity'])
    with torch.no_grad():
        sample = model.eval().test_step(batch_of(modalities))[1].to_dict()
    assert list(sample['branches']) == [*NAMES[:modalities], 'ensemble']
    assert all(image.shape == (3, 32, 64) and image.abs().max() <= 1 for image in sample['branches'].values())
    assert torch.equal(sample['fake_img'], sample['branches']['ensemble'])
    assert sample['gt_img'].shape == (3, 32, 64)


@pytest.mark.parametrize('test_mode', ['deterministic', 'authors'])
@torch.no_grad()
def test_eval_mode_keeps_the_running_statistics(build, test_mode):
    model = build(test_mode=test_mode).eval()
    before, inputs = state_of(model), torch.stack(batch_of()['inputs'])
    first, second = model.branches(inputs)['ensemble'], model.branches(inputs)['ensemble']
    assert not changed(model, before)
    assert torch.equal(first, second) == (test_mode == 'deterministic')
    single = model.branches(inputs[:1])['ensemble']  # the statistics of an image do not depend on the batch
    assert torch.allclose(single, first[:1], atol=1e-5) == (test_mode == 'deterministic')
    model.train().branches(inputs)
    assert changed(model, before, 'running_mean')


def test_train_step_runs_the_generator_once_and_each_loss_trains_one_network(build):
    model = build()
    calls = []
    model.generators['target'].register_forward_hook(lambda *_: calls.append(1))
    for trained, other in (('discriminators', 'generators'), ('generators', 'discriminators')):
        wrappers = wrappers_of(model, accumulative_counts=2)  # no update yet, so the gradients are kept
        wrappers[other].backward = lambda loss: None
        calls.clear()
        model.train_step(batch_of(), wrappers)
        assert len(calls) == 1
        assert all(p.grad is None for p in getattr(model, other).parameters())
        assert any(p.grad is not None for p in getattr(model, trained).parameters())
        assert all(p.requires_grad for p in model.parameters())
        model.zero_grad()


def test_gradients_of_both_networks_are_averaged_over_processes(build, monkeypatch):
    model = build()
    reduced = []
    monkeypatch.setattr(
        'cen_mm.translation.model.all_reduce_params', lambda grads, op: reduced.append((len(grads), op))
    )
    model.train_step(batch_of(), wrappers_of(model))
    unused = 2 * 2  # scale and shift of the first and last norm of the discriminator
    assert reduced[0] == (len(list(model.discriminators.parameters())) - unused, 'mean')
    unused = 2 * 2 + 4  # shifts of the encoder's first and last norms; scales and shifts of the decoder's last norms
    assert reduced[1] == (len(list(model.generators.parameters())) - unused, 'mean')


def test_gradients_of_both_networks_accumulate(build):
    model = build()
    networks, wrappers = (model.generators, model.discriminators), wrappers_of(model, accumulative_counts=2)
    before, updated = [state_of(network) for network in networks], []
    for iteration in range(2):
        set_iteration(iteration)
        model.train_step(batch_of(seed=iteration), wrappers)
        updated.append([changed(network, state, 'conv.weight') for network, state in zip(networks, before)])
    assert updated == [[False, False], [True, True]]


@pytest.mark.parametrize('start', [0, 3])
def test_accumulation_continues_after_resuming(build, start):
    """The generator is trained in iterations 2, 3 and 6; the last updates have the gradients of one iteration."""
    model = build(discriminator_steps=2)
    wrappers, updates = wrappers_of(model, accumulative_counts=2), []
    hub = MessageHub.get_current_instance()
    for name, wrapper in wrappers.items():
        wrapper.step = lambda name=name: updates.append((name, hub.get_info('iter')))
    hub.update_info('max_iters', 7)
    for iteration in range(start, 7):
        set_iteration(iteration)
        model.train_step(batch_of(), wrappers)
    expected = [('discriminators', i) for i in (1, 3, 5, 6)] + [('generators', i) for i in (3, 6)]
    assert sorted(updates) == [(name, i) for name, i in expected if i >= start]


def test_disc_init_steps_and_discriminator_steps(build):
    model = build(discriminator_steps=2, disc_init_steps=3)
    wrappers = wrappers_of(model)
    trained = []
    for iteration in range(6):
        set_iteration(iteration)
        trained.append('loss_gen' in model.train_step(batch_of(), wrappers))
    assert trained == [False, False, False, True, False, True]


def test_both_optimizers_resume(build, tmp_path):
    model = build(generator={**GENERATOR, 'dropout_ratio': 0})
    wrappers = wrappers_of(model)
    for seed in range(2):
        model.train_step(batch_of(seed=seed), wrappers)
    torch.save(dict(model=model.state_dict(), optimizer=wrappers.state_dict()), tmp_path / 'state.pth')
    want = model.train_step(batch_of(seed=2), wrappers), model.train_step(batch_of(seed=3), wrappers)

    resumed = build(generator={**GENERATOR, 'dropout_ratio': 0})
    wrappers = wrappers_of(resumed)
    state = torch.load(tmp_path / 'state.pth')
    resumed.load_state_dict(state['model'])
    wrappers.load_state_dict(copy.deepcopy(state['optimizer']))
    got = resumed.train_step(batch_of(seed=2), wrappers), resumed.train_step(batch_of(seed=3), wrappers)
    assert want == got
    assert not changed(resumed, model.state_dict())


def test_l1_loss_excludes_unknown_pixels():
    """Two of four pixels are known, one per image; unknown pixels get no gradient."""
    real = torch.zeros(2, 3, 1, 2)
    fake = torch.tensor([[3.0, 7.0], [7.0, 5.0]])[:, None, None].expand(2, 3, 1, 2).clone().requires_grad_()
    mask = torch.tensor([[1.0, 0.0], [0.0, 1.0]])[:, None, None]
    loss = l1_loss(fake, real, mask)
    loss.backward()
    assert loss.item() == pytest.approx((3 + 5) / 2)
    torch.testing.assert_close(fake.grad, mask.expand(2, 3, 1, 2) / (2 * 3))

    fake.grad = None
    all_unknown = l1_loss(fake, real, torch.zeros(2, 1, 1, 2))
    all_unknown.backward()
    assert all_unknown == 0
    assert torch.equal(fake.grad, torch.zeros(2, 3, 1, 2))


def test_train_step_with_unknown_target_pixels(build):
    """The loss uses the mask: a mask of ones equals no mask exactly, and a mask of zeros keeps all values finite."""
    initial, logs = build(generator={**GENERATOR, 'dropout_ratio': 0}), {}
    for case, known in (('absent', None), ('all', 1.0), ('none', 0.0), ('holes', torch.arange(64) < 16)):
        model, data = copy.deepcopy(initial), batch_of()
        for sample in data['data_samples']:
            if known is not None:
                sample.mask = torch.ones(1, 32, 64) * known
            if case == 'holes':
                sample.gt_img[:, :, 16:] = 1e6  # must have no effect
        logs[case] = model.train_step(data, wrappers_of(model))
        assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert logs['all'] == logs['absent']
    assert logs['none']['loss_pixel'] == 0
    assert 0 < logs['holes']['loss_pixel'] < 100 * 3 * 2  # differences in [-1, 1], of two branches and the ensemble


def test_images_and_losses_stay_float32_with_bfloat16(build):
    model = build(3)
    log = model.train_step(batch_of(3), wrappers_of(model, BFloat16OptimWrapper))
    assert all(value.dtype == torch.float32 and value.isfinite() for value in log.values())
    with torch.autocast('cpu', torch.bfloat16):
        assert model.branches(torch.stack(batch_of(3)['inputs']))['ensemble'].dtype == torch.float32


def test_initial_weights_are_normal_with_std_0_02(build):
    model = build(generator={**GENERATOR, 'base_channels': 16})
    model.init_weights()
    convs = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
    assert len(convs) == 5 + 5 + 5
    weights = torch.cat([conv.weight.flatten() for conv in convs])
    assert abs(weights.mean()) < 1e-4
    assert weights.std().item() == pytest.approx(0.02, rel=0.01)
    assert all(conv.bias.abs().max() == 0 for conv in convs)


def test_only_encoder_norms_exchange(build):
    norms = dict(cen_mm.exchange.exchanging_norms(build(3)))
    assert list(norms) == [f'generators.target.encoder.{i}.norm' for i in range(5)]  # these are penalized
    assert [norm.unused for norm in norms.values()] == [True, False, False, False, True]


def test_invalid_arguments_raise_clear_errors(build):
    model = build()
    with pytest.raises(
        ValueError, match='height and width of the images, 48x64, must be multiples of 32: .*num_levels=5'
    ):
        model.branches(torch.zeros(1, 6, 48, 64))
    with pytest.raises(ValueError, match='9 channels, which is not a multiple of the 2 modalities'):
        model.branches(torch.zeros(1, 9, 32, 32))
    with pytest.raises(ValueError, match="test_mode='eval' is unknown: choose one of deterministic, authors"):
        build(test_mode='eval')
    data = batch_of()
    data['data_samples'][0].set_metainfo(dict(modalities=('rgb', 'normal')))
    with pytest.raises(ValueError, match=r'inputs of the data set are .*normal.* model expects .* in both'):
        model.train_step(data, wrappers_of(model))
    with pytest.raises(ValueError, match="mode='loss' is unknown: choose 'tensor' or 'predict'"):
        model(torch.zeros(1, 6, 32, 32), mode='loss')


@pytest.mark.skipif(digit_version(torch.__version__) < digit_version('2.7'), reason='torch < 2.7 breaks the graph')
def test_losses_are_one_graph_for_any_batch_and_size(build):
    """The losses of both networks, as in ``train_step``, without graph breaks."""
    model = build(sparsity=dict(loss_weight=1e-3)).train()
    discriminator = model._get_target_discriminator('target')

    def compute(inputs, real, mask):
        inputs = stack_modalities(inputs, 2)
        branches = model.translation(inputs)
        fake = torch.cat([branches[name] for name in model.modalities])
        loss = discriminator_loss(discriminator, inputs, real, fake.detach())
        return loss + sum(model._gen_losses(inputs, real, mask, fake, branches['ensemble']).values())

    graphs = CompileCounter()
    compiled = torch.compile(compute, backend=graphs, fullgraph=True, dynamic=True)
    for batch, height, width in ((2, 64, 96), (3, 96, 128)):
        inputs, real = torch.rand(batch, 6, height, width), torch.rand(batch, 3, height, width)
        mask = torch.ones(batch, 1, height, width)
        torch.manual_seed(0)  # for dropout
        ours = compiled(inputs, real, mask)
        torch.manual_seed(0)
        torch.testing.assert_close(ours, compute(inputs, real, mask))
    assert graphs.frame_count == 1


def test_images_are_ordered_by_the_names_of_the_model(build):
    """mmengine sorts the inputs of the data set in the configs that it writes."""
    model, data = build(3), batch_of(3)
    moved = copy.deepcopy(data)
    order = [2, 0, 1]
    moved['inputs'] = [torch.cat([image.chunk(3)[i] for i in order]) for image in data['inputs']]
    for sample in moved['data_samples']:
        sample.set_metainfo(dict(modalities=tuple(NAMES[i] for i in order)))
    results = [model.eval()(each['inputs'], each['data_samples'], mode='predict') for each in (data, moved)]
    for ours, want in zip(*results):
        assert list(ours.branches) == list(want.branches)
        assert all(torch.equal(ours.branches[name], want.branches[name]) for name in want.branches)
    losses = []
    for each in (data, moved):
        torch.manual_seed(0)
        trained = copy.deepcopy(model).train()
        losses.append(trained.train_step(copy.deepcopy(each), wrappers_of(trained)))
    assert {name: float(value) for name, value in losses[0].items()} == pytest.approx(
        {name: float(value) for name, value in losses[1].items()}
    )
