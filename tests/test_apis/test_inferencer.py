"""Many inputs: lists, folders and patterns, batches, and the files that are written."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from cen_mm.apis import MultimodalInferencer, inference_model, init_model, list_inputs, to_arrays


@pytest.fixture
def model(trained):
    return init_model(trained.cfg, trained.checkpoint, 'cpu')


def read(path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return image if image.ndim == 2 else image[..., ::-1]


def test_files_of_folders_equal_single_predictions(trained, model, tmp_path, capsys):
    want = [to_arrays(result) for result in inference_model(model, trained.samples)]
    folders = {name: Path(path).parent for name, path in trained.samples[0].items()}
    if 'rgb' in folders:
        patterns = {name: f'{folder}/00000{{}}.png' for name, folder in folders.items()}
        names = [Path(sample['rgb']).stem.removeprefix('00000') for sample in trained.samples]
    else:
        patterns = {name: f'{folder}/{{}}_domain_{name}.png' for name, folder in folders.items()}
        names = [Path(sample['reshading']).stem.partition('_domain')[0] for sample in trained.samples]
    inferencer = MultimodalInferencer(model)
    results = inferencer(patterns, batch_size=2, out_dir=tmp_path / 'out')
    assert len(results['predictions']) == 6  # the folders also contain the training images
    for name, arrays in zip(names, want):
        assert list(arrays) == [*model.modalities, 'ensemble']
        assert read(tmp_path / f'out/vis/{name}.png').ndim == 3
        paths = next(paths for paths in results['predictions'] if Path(paths['ensemble']).stem == name)
        for branch, array in arrays.items():
            assert paths[branch] == str(tmp_path / f'out/pred/{branch}/{name}.png')
            assert np.mean(read(paths[branch]) == array) > 0.999  # in a batch, sums may be rounded in another order
    assert 'FPS: ' in capsys.readouterr().out


def test_batches_contain_samples_of_the_same_size_and_modalities(trained, model):
    arrays = [{name: read(path) for name, path in sample.items()} for sample in trained.samples]
    first, last = arrays[0]
    small = [{name: array[:48, :64] for name, array in sample.items()} for sample in arrays]
    inputs = [*arrays, *small, {first: arrays[0][first]}, {last: arrays[0][last]}, arrays[0]]
    sizes = []
    model.register_forward_hook(lambda *call: sizes.append(len(call[-1])))
    results = MultimodalInferencer(model, show_progress=False)(inputs, batch_size=4, return_datasamples=True)
    resized = 'branches' in results['predictions'][0]  # the pipeline for translation resizes
    assert sizes == ([4, 1, 1, 1] if resized else [2, 2, 1, 1, 1])
    for got, want in zip(results['predictions'], inference_model(model, inputs)):
        assert got.modalities == want.modalities
        fields = ('fake_img',) if resized else ('seg_logits',)
        for field in fields:
            got_field, want_field = got.get(field), want.get(field)
            if not resized:
                got_field, want_field = got_field.data, want_field.data
            assert torch.allclose(got_field, want_field, atol=1e-4)


def test_pictures_have_the_colors_of_the_classes(segmentation):
    model = init_model(segmentation.cfg, segmentation.checkpoint, 'cpu')
    model.dataset_meta['palette'] = [[i, 2 * i, 255 - i] for i in range(40)]
    inferencer = MultimodalInferencer(model, show_progress=False)
    results = inferencer(segmentation.samples[0], return_vis=True)
    picture, predictions = results['visualization'][0], results['predictions'][0]
    height, width = (288, 384)  # 72x96, enlarged four times, below a line of text
    tiles = [
        picture[24 + row * (height + 24) :, column * width :][: height - 1 : 4, : width - 1 : 4]
        for row, columns in ((0, 3), (1, 3)) for column in range(columns)
    ]  # fmt: skip
    rgb = cv2.imread(segmentation.samples[0]['rgb'])[..., ::-1]
    assert (tiles[0] == rgb).all()
    assert (tiles[2] == 255).all()  # no label
    for tile, branch in zip(tiles[3:], ('rgb', 'depth', 'ensemble')):
        assert (tile == np.array(model.dataset_meta['palette'])[predictions[branch]]).all()


def test_names_are_those_of_the_files_and_unique(tmp_path):
    for path in ('rgb/a.png', 'rgb/sub/b.png', 'rgb/notes.txt', 'depth/a.tiff', 'depth/sub/b.tiff', 'depth/c.tiff'):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    rgb, depth = tmp_path / 'rgb', tmp_path / 'depth'
    b = dict(rgb=str(rgb / 'sub/b.png'), depth=str(depth / 'sub/b.tiff'))
    assert list_inputs(dict(rgb=rgb, depth=depth))[1] == ('sub/b', b)
    assert list_inputs(dict(rgb=f'{rgb}/{{}}.png', depth=depth / '{}.tiff'))[1] == ('sub/b', b)
    names = [name for name, _ in list_inputs([dict(rgb='x/a.png'), dict(rgb='y/a.png'), dict(depth=np.ones(3))])]
    assert names == ['a', 'a_2', '00000002']
    assert list_inputs(dict(depth=np.ones(3)), start=7)[0][0] == '00000007'  # of the next call


FOLDERS = {
    'several types': (dict(rgb='mixed'), r'mixed, given for rgb, contains files of several types \(.jpg, .png\)'),
    'no images': (dict(rgb='empty'), 'The folder empty, given for rgb, contains no images: correct the path, or give'),
    'empty pattern': (dict(rgb='empty/{}.png'), "empty contains no file 'empty/{}.png' of rgb: correct the path"),
    'no folder': (dict(rgb='no/{}.png'), "The folder no of rgb does not exist: correct the path 'no/{}.png'"),
    'other names': (dict(rgb='a', depth='b'), r'The folders have no common file name \(rgb: 1; depth: 2\): {} in the'),
    'folder and file': (dict(rgb='a', depth='b/2.png'), r'rgb is a folder or pattern, but depth is not \(b/2.png\)'),
}


@pytest.mark.parametrize(('inputs', 'message'), FOLDERS.values(), ids=FOLDERS)
def test_wrong_folders_raise_one_clear_sentence(tmp_path, monkeypatch, inputs, message):
    monkeypatch.chdir(tmp_path)
    for path in ('mixed/1.png', 'mixed/1.jpg', 'empty/notes.txt', 'a/1.png', 'b/2.png'):
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).touch()
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        list_inputs(inputs)
    assert '\n' not in str(error.value)
