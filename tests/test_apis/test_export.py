"""Exported models give the outputs and the scores of the original ones, for sizes that they were not exported with."""

import copy
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.utils import digit_version
from torch.utils.flop_counter import FlopCounterMode

from cen_mm.apis import ExportedModel, ExportError, export_model, init_model, use_exported
from cen_mm.apis import export as export_module
from cen_mm.apis.baked_exchange import BakedNorm, bake_exchange
from cen_mm.apis.exportable import AnySizeAvgPool2d, bicubic_weights
from cen_mm.datasets.nyudv2 import NYUDepthV2Dataset
from cen_mm.exchange import exchanging_norms

ROOT = Path(__file__).parents[2]
exports = pytest.mark.skipif(
    digit_version(torch.__version__) < digit_version('2.6'), reason='torch < 2.6 cannot export with dynamic shapes'
)
RESNET = dict(depth=18, base_channels=8, num_stages=1, strides=(1,), dilations=(1,), out_indices=(0,))
REFINENET = dict(
    backbone=dict(base_channels=8, num_stages=2, strides=(1, 2), dilations=(1, 1), out_indices=(0, 1)),
    neck=dict(in_channels=[8, 16], channels=8, top_channels=8),
    decode_head=dict(in_channels=8),
)
HEAD = dict(in_channels=8, in_index=0, channels=8)
MIT = dict(embed_dims=16, num_stages=1, num_layers=[1], num_heads=[1], patch_sizes=[7], strides=[4], sr_ratios=[8],
           out_indices=(0,))  # fmt: skip
CONVNEXT = dict(arch=dict(_delete_=True, depths=[1, 1], channels=[8, 16]), out_indices=[0, 1])
EXCHANGE = r'layer\d\.\d+\.bn1'
# Name: config, options that make the network small.
NETWORKS = {
    'RefineNet': ('cen_refinenet_r18_nyudv2.py', REFINENET),
    'PSPNet': ('cen_pspnet_r101_nyudv2.py', dict(backbone=dict(exchange=EXCHANGE, **RESNET), decode_head=HEAD)),
    'DeepLabV3+': (
        'cen_deeplabv3plus_r50_nyudv2.py',
        dict(
            backbone=dict(backbone=dict(stem_channels=8, **RESNET), exchange=EXCHANGE),
            decode_head=dict(c1_in_channels=8, c1_channels=8, dilations=(1, 12), **HEAD),
        ),
    ),
    'UPerNet': (
        'cen_upernet_convnext-tiny_nyudv2.py',
        dict(
            backbone=dict(backbone=CONVNEXT),
            decode_head=dict(in_channels=[8, 16], in_index=[0, 1], channels=8, pool_scales=(1, 3)),
        ),
    ),
    'SegFormer': (
        'cen_segformer_mit-b2_nyudv2.py',
        dict(backbone=dict(backbone=MIT), decode_head=dict(in_channels=[16], in_index=[0], channels=8)),
    ),
    'fusion': (
        'ablation/self_attention.py',
        dict(
            backbone=RESNET,
            neck=dict(in_channels=[8], channels=8, top_channels=8),
            decode_head=dict(in_channels=8),
            fusion=dict(in_channels=[8]),
        ),
    ),
}
IMAGES = dict(rgb=torch.randint(0, 256, (3, 80, 72), dtype=torch.uint8), depth=5 * torch.rand(1, 80, 72))


@pytest.fixture
def build(config):
    """Returns a function that builds a small network in which many channels are replaced."""

    def build(name: str, options: dict = {}):  # noqa: B006
        file, small = NETWORKS[name]
        cfg = config(file)
        cfg.merge_from_dict(dict(model=dict(copy.deepcopy(small), auxiliary_head=None)))
        cfg.merge_from_dict({f'model.{key}': value for key, value in options.items()})
        return replace_channels(MODELS.build(cfg.model).eval())

    return build


def replace_channels(model):
    """Sets random scales, of which some are below the threshold: different channels in each modality, then none."""
    with torch.no_grad():
        for _, norm in exchanging_norms(model):
            for i, copied in enumerate(norm.norms):
                copied.weight.uniform_(0.5, 1.5)[i :: len(norm.norms)][: 2 + i] = 0
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(), module.running_var.uniform_(0.5, 1.5), module.bias.normal_()
    return model


def batches(images: dict[str, torch.Tensor], count: int, height: int, width: int) -> dict[str, torch.Tensor]:
    """Repeats the images to the size, with noise that differs between them."""
    out = {}
    for name, image in images.items():
        tiled = image.repeat(1, -(-height // image.shape[1]), -(-width // image.shape[2]))[:, :height, :width]
        out[name] = torch.stack([tiled.roll(7 * i, -2) for i in range(count)])
    return out


@exports
@pytest.mark.parametrize('name', list(NETWORKS)[1:])  # the first is exported in test_tools_export_and_test
def test_onnx_equals_pytorch_for_other_sizes(build, name, tmp_path):
    onnxruntime = pytest.importorskip('onnxruntime')
    model = build(name)
    export_model(model, tmp_path / 'model.onnx', IMAGES, size=(64, 96))
    session = onnxruntime.InferenceSession(str(tmp_path / 'model.onnx'))
    assert [(node.name, node.type, node.shape[1]) for node in session.get_inputs()] == [
        ('rgb', 'tensor(uint8)', 3),
        ('depth', 'tensor(float)', 1),
    ]
    assert [node.name for node in session.get_outputs()] == [f'{output}_logits' for output in model.outputs]
    metadata = session.get_modelmeta().custom_metadata_map
    means = json.loads(metadata['cen_mm.mean'])
    assert list(means) == ['rgb', 'depth']
    assert means['rgb'] == pytest.approx([123.675, 116.28, 103.53])
    for count, height, width in ((1, 64, 64), (3, 75, 130)):
        images = batches(IMAGES, count, height, width)
        with torch.no_grad():
            inputs = model.data_preprocessor(dict(inputs=images))['inputs']
            expected = model.encode_decode(inputs, []).chunk(len(model.outputs), dim=1)
        outputs = session.run(None, {key: image.numpy() for key, image in images.items()})
        for output, want in zip(outputs, expected):
            torch.testing.assert_close(torch.from_numpy(output), want, rtol=1e-3, atol=1e-4 * float(want.abs().max()))


def test_baked_exchange_equals_the_exchange(build):
    """In float64, with channels that no, one or both modalities replace, and with one or three modalities."""
    depth_only = {'available_modalities': ['depth']}
    for options in ({}, depth_only, {**depth_only, 'modality_dropout': 0.5}, {'data_preprocessor.modalities.ir': IR}):
        model = build('RefineNet', options).double()
        for name, tensor in model.state_dict().items():
            if '.partial_' in name:
                tensor.uniform_(0.5, 1.5)
        norm = model.backbone.layer2[0].bn1
        with torch.no_grad():
            for copied in norm.norms:
                copied.weight[5] = 0  # replaced in every modality
            inputs = torch.randn(2, model.in_channels, 40, 56, dtype=torch.float64)
            expected = model.branches(inputs)
            baked = copy.deepcopy(model)
            bake_exchange(baked)
            assert not list(exchanging_norms(baked))
            for name, output in baked.branches(inputs).items():
                torch.testing.assert_close(output, expected[name], rtol=1e-9, atol=1e-12)


IR = dict(mean=[0.0] * 3, std=[1.0] * 3)


def test_replaced_channels_are_not_computed(build):
    model = build('RefineNet')
    with torch.no_grad():
        for _, norm in exchanging_norms(model):
            for i, copied in enumerate(norm.norms):
                copied.weight.fill_(1).chunk(2)[
                    i
                ].zero_()  # half of the channels in each modality, as the penalty does
    baked = copy.deepcopy(model.backbone)
    bake_exchange(Holder(baked, model))
    counts = []
    for backbone in (model.backbone, baked):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            backbone(torch.randn(2, 3, 64, 64))
        counts.append(counter.get_total_flops())
    # Half of the 3x3 convolutions: inputs x outputs of the first and the others, at 16x16 and 8x8, of two images
    layer1, layer2 = (64 * 8 + 3 * 8 * 8) * 9 * 16 * 16, (8 * 16 + 3 * 16 * 16) * 9 * 8 * 8
    assert counts[0] - counts[1] == 2 * 2 * (layer1 + layer2) / 2


class Holder(torch.nn.Module):
    """A backbone with the names of the modalities of its model."""

    def __init__(self, backbone, model):
        super().__init__()
        self.backbone, self.modalities, self.available_modalities = backbone, model.modalities, model.modalities


@pytest.mark.parametrize(('height', 'width'), [(13, 17), (6, 40)])
def test_matrix_products_equal_pooling_and_bicubic_interpolation(height, width):
    x = torch.randn(2, 3, height, width, dtype=torch.float64)
    for size in (2, 3, 6, (4, 5)):
        expected = torch.nn.AdaptiveAvgPool2d(size)(x)
        torch.testing.assert_close(AnySizeAvgPool2d(size)(x), expected)
    for size in ((4 * height, 4 * width), (50, 71), (5, 9)):
        rows, columns = (bicubic_weights(*sides, x) for sides in zip(size, x.shape[2:]))
        torch.testing.assert_close(rows @ x @ columns.T, F.interpolate(x, size, mode='bicubic'))


@exports
def test_translation(tmp_path):
    pytest.importorskip('mmagic')
    onnxruntime = pytest.importorskip('onnxruntime')
    from cen_mm.datasets.transforms.packing import PackTranslation

    cfg = Config.fromfile(ROOT / 'configs/cen_unet_shade-texture2rgb_rooms.py')
    init_default_scope('mmagic')
    cfg.model.generator.update(base_channels=4, num_levels=3)
    model = replace_channels(MODELS.build(cfg.model).eval())
    rng = np.random.default_rng(0)
    images = dict(
        reshading=rng.integers(0, 256, (72, 80, 3), np.uint8),
        edge_texture=rng.uniform(0, 255, (72, 80)).astype(np.float32),
    )
    as_inputs = {name: np.atleast_3d(image).transpose(2, 0, 1) for name, image in images.items()}
    file = tmp_path / 'model.onnx'
    export_model(model, file, {name: torch.from_numpy(image) for name, image in as_inputs.items()}, size=(64, 96))
    packed = PackTranslation().transform(dict(images=images, modality_paths=images, img_shape=(72, 80), missing={}))
    with torch.no_grad():
        expected = model.branches(packed['inputs'][None])
    session = onnxruntime.InferenceSession(str(file))
    outputs = session.run(None, {name: image[None] for name, image in as_inputs.items()})
    assert [node.name for node in session.get_outputs()] == [f'{name}_image' for name in expected]
    for output, want in zip(outputs, expected.values()):
        torch.testing.assert_close(torch.from_numpy(output), want, rtol=1e-3, atol=1e-4)

    init_default_scope('mmagic')
    tested = MODELS.build(cfg.model).eval()
    use_exported(tested, file)
    sample = tested(packed['inputs'][None].clone(), mode='predict')[0]
    torch.testing.assert_close(sample.branches['edge_texture'], expected['edge_texture'][0], rtol=1e-3, atol=1e-4)
    with pytest.raises(ExportError, match='A translation model has no classes'):
        export_model(model, file, argmax=True)
    with pytest.raises(ExportError, match='65x96, must be at least 64, and multiples of 8'):
        export_model(model, file, size=(65, 96))
    model.test_mode = 'authors'
    with pytest.raises(ExportError, match="test_mode='authors' uses dropout"):
        export_model(model, file, size=(64, 96))


@exports
def test_tools_export_and_test(run_tool, build, made_nyudv2, tmp_path, monkeypatch):
    """The exported model has the same scores as the checkpoint, and the example in the documentation runs it."""
    pytest.importorskip('onnxruntime')
    monkeypatch.setenv('CEN_MM_NYUDV2', str(made_nyudv2))
    config = ROOT / 'configs' / NETWORKS['RefineNet'][0]
    options = ['--cfg-options', 'model.backbone.init_cfg=None']
    options += ['model.backbone.num_stages=2', 'model.backbone.strides=[1,2]', 'model.backbone.dilations=[1,1]']
    options += [
        'model.backbone.out_indices=[0,1]',
        'model.backbone.base_channels=8',
        'model.decode_head.in_channels=8',
    ]
    options += ['model.neck.in_channels=[8,16]', 'model.neck.channels=8', 'model.neck.top_channels=8']
    checkpoint = tmp_path / 'model.pth'
    meta = dict(dataset_meta=NYUDepthV2Dataset.METAINFO)
    torch.save(dict(state_dict=build('RefineNet').state_dict(), meta=meta), checkpoint)

    def scores(file: Path, *more) -> dict:
        work_dir = tmp_path / f'work_{file.suffix}_{len(more)}'
        loader = ('test_dataloader.num_workers=0', 'test_dataloader.persistent_workers=False')
        run_tool('test.py', config, file, '--work-dir', work_dir, *more, *options, *loader)
        scores = json.loads(next(work_dir.glob('*/2*.json')).read_text())
        return {key: value for key, value in scores.items() if 'time' not in key}

    export = ('deployment/export.py', config, checkpoint)
    log = run_tool(*export, '--preprocess', '--argmax', '--shape', 64, 96, *options)
    assert float(re.search(r'largest difference from PyTorch: (\S+)', log)[1]) < 1e-4
    assert f'Next: python tools/test.py {config} {checkpoint.with_suffix(".onnx")}\n' in log
    log = run_tool(*export, '--format', 'torchexport', *options, 'test_dataloader=None')  # only for --preprocess
    assert float(re.search(r'largest difference from PyTorch: (\S+)', log)[1]) < 1e-4
    torch.save(dict(state_dict=dict(other=torch.ones(1))), tmp_path / 'other.pth')
    said = run_tool(*export[:2], tmp_path / 'other.pth', fails=True).strip().splitlines()
    assert said[-1].startswith(f'export.py: {tmp_path / "other.pth"}')
    assert 'Traceback' not in '\n'.join(said)
    expected = scores(checkpoint)
    assert expected['mIoU'] != expected['rgb/mIoU']
    for file in (checkpoint.with_suffix('.onnx'), checkpoint.with_suffix('.pt2')):
        assert scores(file) == pytest.approx(expected, abs=0.02)  # in %; rounding may change single pixels
    assert scores(checkpoint.with_suffix('.pt2'), '--tta') == pytest.approx(scores(checkpoint, '--tta'), abs=0.02)

    mean = 'model.data_preprocessor.modalities.depth.mean=[3.0,3.0,3.0]'
    classes = 'test_dataloader.dataset.metainfo.classes'
    for file, option in (
        (checkpoint.with_suffix('.pt2'), mean),
        (checkpoint.with_suffix('.onnx'), f'{classes}=[wall]'),
    ):
        said = run_tool('test.py', config, file, '--work-dir', tmp_path / 'work', *options, option, fails=True)
        key = option.split('=')[0].split('.')[-1]
        assert f'{file.name} was exported with {key} ' in said.splitlines()[-1]
        assert said.splitlines()[-1].endswith(': use the config with which it was exported.')
    model = build('RefineNet')
    use_exported(model, checkpoint.with_suffix('.onnx'))
    with pytest.raises(ExportError, match='model.onnx has resized logits or classes: use inference_model instead of'):
        model.branches(torch.zeros(1, 6, 64, 64))
    with pytest.raises(ExportError, match='The model uses .*model.onnx already: build another one'):
        use_exported(model, checkpoint.with_suffix('.pt2'))
    with pytest.raises(
        ValueError, match='model.onnx is an exported model: run tools/test.py with it, or use_exported'
    ):
        init_model(Config.fromfile(config), checkpoint.with_suffix('.onnx'), 'cpu')

    example = re.search(r'```python\n(import cv2.*?)```', (ROOT / 'docs/deployment.md').read_text(), re.DOTALL)[1]
    monkeypatch.chdir(made_nyudv2)
    for old, new in {'MODEL.onnx': checkpoint.with_suffix('.onnx'), 'rgb.jpg': 'rgb/000004.png'}.items():
        example = example.replace(old, str(new))
    example = example.replace('depth.png', 'depth/000004.png')
    names = {}
    exec(example, names)
    out = tmp_path / 'out'
    run_tool('test.py', config, checkpoint, '--out', out, '--work-dir', tmp_path / 'work', *options)
    written = cv2.imread('classes.png', cv2.IMREAD_UNCHANGED)
    assert (written == cv2.imread(str(out / '000004.png'), cv2.IMREAD_UNCHANGED)).mean() > 0.999


def test_norms_without_scales_become_constant(build):
    model = build('SegFormer', {'decode_head.norm_cfg': dict(_delete_=True, type='IN')})
    inputs = torch.randn(2, 6, 64, 64)
    with torch.no_grad():
        expected = model.encode_decode(inputs, [])
        bake_exchange(model)
        torch.testing.assert_close(model.encode_decode(inputs, []), expected, rtol=1e-4, atol=1e-4)
    assert any(isinstance(m, BakedNorm) and not m.is_affine for m in model.decode_head.modules())


@exports
def test_a_binary_segmentor_has_two_classes(build, tmp_path):
    """A head with one output channel: the class is 1 where its probability is above the threshold."""
    head = dict(num_classes=2, out_channels=1, threshold=0.4)
    model = build('RefineNet', {f'decode_head.{key}': value for key, value in head.items()})
    export_model(model, tmp_path / 'model.pt2', argmax=True, size=(64, 96))
    inputs = torch.randn(2, 6, 70, 64)
    with torch.no_grad():
        logits = model.encode_decode(inputs, []).chunk(3, dim=1)
        expected = [(each.sigmoid() > 0.4)[:, 0] for each in logits]
        use_exported(model, tmp_path / 'model.pt2')
        samples = model.predict(inputs)
    assert 0.01 < expected[2].float().mean() < 0.99
    for i, sample in enumerate(samples):
        assert (sample.pred_sem_seg.data == expected[2][i]).float().mean() > 0.999
        assert (sample.pred_sem_seg.rgb == expected[0][i]).float().mean() > 0.999


def test_what_cannot_be_exported_is_refused(build, tmp_path, monkeypatch):
    model, file = build('RefineNet'), tmp_path / 'model.pt2'

    def refuses(message: str, *args, **kwargs):
        with pytest.raises(ExportError, match=message):
            export_model(model, *args, **kwargs)

    refuses('model.pth must end with .onnx or .pt2', tmp_path / 'model.pth')
    with monkeypatch.context() as patch:
        patch.setattr(torch, '__version__', '2.5.1')
        refuses('Exported models need torch 2.6 or newer, and this is torch 2.5.1', file)
    if digit_version(torch.__version__) < digit_version('2.6'):
        return
    refuses('63x96, must be at least 64', file, size=(63, 96))
    with pytest.raises(ExportError, match='none.pt2 does not exist'):
        ExportedModel(tmp_path / 'none.pt2')
    with monkeypatch.context() as patch:
        patch.setattr('importlib.util.find_spec', lambda name: None)
        refuses(r"ONNX needs onnx, onnxscript, onnxruntime: run `pip install 'cen_mm\[deployment\]'`", 'a.onnx')
    file.write_text('older file')
    with pytest.raises(ExportError, match='model.pt2 cannot be loaded .*: export the model again'):
        ExportedModel(file)
    monkeypatch.setattr(export_module, 'TOLERANCE', 0)
    monkeypatch.setattr(BakedNorm, 'forward', lambda self, x: x)
    refuses(
        'differs from PyTorch by .* of the largest output, more than 0, so .* was not written', file, size=(64, 64)
    )
    assert file.read_text() == 'older file'
    assert list(tmp_path.iterdir()) == [file]
