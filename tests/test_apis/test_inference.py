"""Predictions from files and arrays equal those of the runner on the same files, in every bit."""

import copy
import sys
import threading

import mmengine
import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from mmengine.utils import digit_version
from PIL import Image

from cen_mm.apis import inference_model, init_model


def predict_with_runner(trained, tmp_path, available=None):
    """Tests with mmengine's runner and returns the results, one dict per sample."""
    cfg, out = copy.deepcopy(trained.cfg), tmp_path / 'results.pkl'
    cfg.load_from, cfg.work_dir = str(trained.checkpoint), str(tmp_path / 'work')
    cfg.train_dataloader = cfg.train_cfg = cfg.optim_wrapper = cfg.param_scheduler = None
    cfg.test_evaluator = dict(type='mmengine.DumpResults', out_file_path=str(out))
    if available is not None:
        dataset = cfg.test_dataloader.dataset
        key = 'inputs' if 'inputs' in dataset else 'modalities'
        dataset[key] = available if key == 'inputs' else {name: dataset[key][name] for name in available}
        cfg.model.available_modalities = available
    Runner.from_cfg(cfg).test()
    return mmengine.load(out)


def outputs(result) -> dict[str, torch.Tensor]:
    """The logits or images of every branch and of the ensemble, of a sample or of a dumped sample."""
    return dict((result['seg_logits'] if 'seg_logits' in result else result['branches']).items())


def assert_equal(results, want):
    assert len(results) == len(want) == 2
    for got, expected in zip(map(outputs, (r.to_dict() for r in results)), map(outputs, want)):
        assert set(got) == set(expected)
        for name in expected:
            assert torch.equal(got[name], expected[name]), name


def test_files_and_arrays_give_the_results_of_the_runner(trained, tmp_path):
    want = predict_with_runner(trained, tmp_path)
    model = init_model(trained.cfg, trained.checkpoint, device='cpu')
    assert set(outputs(want[0])) - {'data'} >= {*model.modalities}
    results = inference_model(model, trained.samples)
    kind = 'DataSample' if 'branches' in results[0] else 'SegDataSample'
    assert {type(result).__name__ for result in results} == {kind}
    assert_equal(results, want)
    # Pillow decodes to red, green, blue; arrays keep the type and the units of the files.
    arrays = [{name: np.array(Image.open(path)) for name, path in sample.items()} for sample in trained.samples]
    assert {array.dtype.name for array in arrays[0].values()} == {'uint8', 'uint16'}
    assert_equal([inference_model(model, sample) for sample in arrays], want)


@pytest.mark.parametrize('index', [0, 1])
def test_a_missing_modality_gives_the_results_of_the_runner(trained, tmp_path, index):
    available = list(trained.samples[0])[index]
    want = predict_with_runner(trained, tmp_path, available=[available])
    model = init_model(trained.cfg, trained.checkpoint, device='cpu')
    left_out = [{available: sample[available]} for sample in trained.samples]
    assert_equal(inference_model(model, left_out), want)
    assert_equal(inference_model(model, trained.samples, available_modalities=[available]), want)
    assert len(outputs(inference_model(model, trained.samples[0]).to_dict())) == 3  # again with both


def test_init_model_keeps_the_classes_of_the_checkpoint(segmentation):
    cfg, checkpoint, _ = segmentation
    assert init_model(cfg, checkpoint, 'cpu').dataset_meta['classes'][:2] == ('wall', 'floor')  # of the config
    saved = torch.load(checkpoint)
    saved['meta'] = dict(dataset_meta=dict(classes=['a', 'b'], palette=[[1, 2, 3], [4, 5, 6]]))
    torch.save(saved, checkpoint)
    assert init_model(cfg, checkpoint, 'cpu').dataset_meta == saved['meta']['dataset_meta']


def test_a_device_or_modality_that_is_not_there_is_named(segmentation, monkeypatch):
    cfg, checkpoint, samples = segmentation
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(ValueError, match=r'device=cuda:0, but torch .* finds no GPU: use cpu, or install'):
        init_model(cfg, checkpoint, 'cuda:0')
    cfg.model.available_modalities = ['rgb']
    model = init_model(cfg, checkpoint, 'cpu')
    for names in (['depth'], ['rgb', 'depth']):
        with pytest.raises(
            ValueError, match=r'The model was built for rgb only \(model.available_modalities\): build'
        ):
            inference_model(model, samples[0], available_modalities=names)
    assert inference_model(model, samples[0]).modalities == ('rgb',)


def test_init_model_needs_no_data(config):
    cfg = config('cen_refinenet_r101_deliver.py')  # its data set selects files
    cfg.model.backbone.depth = 50
    assert init_model(cfg, device='cpu').dataset_meta['classes'][0] == 'Building'
    cfg.test_dataloader = None
    with pytest.raises(ValueError, match='no test_dataloader, whose data set knows the classes'):
        init_model(cfg, device='cpu')


def test_a_baseline_that_needs_every_modality_says_so(segmentation):
    cfg = segmentation.cfg
    cfg.model.update(type='cen_mm.FusionSegmentor', sparsity=None)
    with pytest.raises(ValueError, match='FusionSegmentor needs every modality: give images of rgb, depth'):
        inference_model(init_model(cfg, device='cpu'), dict(rgb=segmentation.samples[0]['rgb']))


def test_threads_share_a_model(segmentation, monkeypatch):
    """While one predicts without depth, the other one must not."""
    model = init_model(segmentation.cfg, segmentation.checkpoint, device='cpu')
    arrays = {name: np.array(Image.open(path)) for name, path in segmentation.samples[0].items()}
    inputs = [arrays, dict(rgb=arrays['rgb'])]
    want = [inference_model(model, images) for images in inputs]
    results = [[], []]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    threads = [
        threading.Thread(target=lambda i=i: results[i].extend(inference_model(model, [inputs[i]] * 6))) for i in (0, 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(before)
    for got, expected in zip(results, want):
        assert_equal([got[0], got[5]], [expected.to_dict()] * 2)
        assert len(got) == 6
    assert want[0].modality_paths == dict(rgb='array of rgb', depth='array of depth')  # not the arrays


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16], ids=str)
def test_models_in_half_precision(trained, dtype):
    if dtype == torch.float16 and digit_version(torch.__version__) < digit_version('2.3'):
        pytest.skip('older torch has no convolutions in float16 on the CPU')
    model = init_model(trained.cfg, trained.checkpoint, device='cpu')
    first = next(iter(trained.samples[0]))
    for sample in (trained.samples[0], {first: trained.samples[0][first]}):
        want, got = (
            outputs(inference_model(each, sample).to_dict()) for each in (model, copy.deepcopy(model).to(dtype))
        )
        for name, image in want.items():
            assert got[name].dtype == dtype
            assert (got[name].float() - image).norm() < 0.1 * image.norm()


def test_a_missing_modality_keeps_the_settings_of_the_preprocessor(segmentation):
    model = init_model(segmentation.cfg, segmentation.checkpoint, device='cpu')
    model.data_preprocessor.mean[3:] += 1  # of depth, by hand
    part = model.data_preprocessor.subset(['depth'])
    image = torch.rand(1, 8, 8)
    both, alone = (each(dict(inputs=dict(rgb=[image], depth=[image]))) for each in (model.data_preprocessor, part))
    assert torch.equal(alone['inputs'], both['inputs'][:, 3:])
    assert model.data_preprocessor.modalities == ('rgb', 'depth')


ERRORS = {
    'unknown modality': (lambda s: dict(s, lidar='x.png'), r"The model has no modality 'lidar': give images of rgb, "),
    'no modality': (lambda s: {}, 'There is no image for the model: give images of rgb, depth'),
    'no dict': (lambda s: s['rgb'], 'An input is a str: give a dict with an image per modality, such as '),
    'array': (lambda s: np.ones((72, 96, 3), np.uint8), 'An input is a ndarray: give a dict with an image per modal'),
    'no sample': (lambda s: [], 'The list of inputs is empty: give at least one dict'),
    'missing file': (lambda s: dict(s, depth='no.png'), 'no.png, given for depth, does not exist or is not a file'),
    'folder': (lambda s: dict(rgb='.', depth='.'), r'\., given for rgb, does not exist or is not a file'),
    'folder in a list': (lambda s: [dict(s, rgb='.')], r'\., given for rgb, does not exist or is not a file'),
    'not an image': (lambda s: dict(s, depth=__file__), 'test_inference.py cannot be decoded .*: replace the file'),
    'no array': (lambda s: dict(s, depth=None), 'The image of depth is a NoneType: leave it out if it is missing'),
    'no path': (lambda s: dict(s, depth=1), 'The image of depth is a int: give a path or a numpy array'),
    'masked array': (lambda s: dict(s, depth=np.ma.zeros((72, 96))), 'depth is a masked array: give .filled'),
    'other size': (
        lambda s: dict(s, depth=np.ones((9, 8), np.uint16)),
        'array of depth is 8x9, but .*000004.png is 96x72: align depth with rgb',
    ),
    'bit depth': (lambda s: dict(s, depth=s['rgb']), "000004.png is uint8, but depth is uint16: set dtype='uint8'"),
    'type of an array': (lambda s: dict(s, rgb=np.ones((72, 96, 3))), 'array of rgb is float64, but rgb is uint8'),
    'shape of an array': (
        lambda s: dict(s, rgb=np.ones((1, 72, 96, 3), np.uint8)),
        r'array of rgb cannot be decoded \(its shape is \(1, 72, 96, 3\)\)',
    ),
    'four channels': (
        lambda s: dict(s, rgb=np.ones((72, 96, 4), np.uint8)),
        'array of rgb has 4 channels, but rgb has 3',
    ),
}


def test_wrong_inputs_raise_one_clear_sentence(segmentation):
    model = init_model(segmentation.cfg, segmentation.checkpoint, 'cpu')
    for name, (change, message) in ERRORS.items():
        with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
            inference_model(model, change(segmentation.samples[0]))
        assert '\n' not in str(error.value), name
    with pytest.raises(ValueError, match="available_modalities contains 'depth', but there is no image of it"):
        inference_model(model, dict(rgb=segmentation.samples[0]['rgb']), available_modalities=['rgb', 'depth'])
    with pytest.raises(ValueError, match="available_modalities='rgb' does not match the modalities of the model"):
        inference_model(model, segmentation.samples[0], available_modalities='rgb')
    with pytest.raises(ValueError, match='The model is in training mode'):
        inference_model(model.train(), segmentation.samples[0])
