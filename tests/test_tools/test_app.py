"""The page to try a model, used in a real browser: it shows what inference_model predicts, and refuses bad files."""

import base64
import importlib
import io
import shutil
import signal
import sys
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from PIL import Image

from cen_mm.apis import inference_model, init_model, to_arrays
from cen_mm.datasets import NYUDepthV2Dataset

gr = pytest.importorskip('gradio')
httpx = pytest.importorskip('httpx')
playwright = pytest.importorskip('playwright.sync_api')
ROOT = Path(__file__).parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason='no browser is installed')
FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking']


def save(cfg: Config, folder: Path) -> tuple[str, str]:
    """Writes a config and a checkpoint with random norms, many of whose channels are exchanged."""
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    for name, tensor in model.state_dict().items():
        if '.norms.' in name and tensor.is_floating_point():
            tensor.uniform_(0.01, 1.5)
    torch.save(dict(state_dict=model.state_dict()), folder / 'model.pth')
    cfg.dump(folder / 'tiny.py')
    return str(folder / 'tiny.py'), str(folder / 'model.pth')


@pytest.fixture(autouse=True)
def _signals():
    before = signal.getsignal(signal.SIGTERM)  # which the tool changes
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def segmentation(rooms, config, tmp_path) -> tuple[str, str]:
    cfg = config('cen_refinenet_r18_rooms.py')
    cfg.model.backbone.base_channels, cfg.model.decode_head.in_channels = 16, 16
    cfg.model.neck.update(in_channels=[16, 32, 64, 128], channels=16, top_channels=16)
    cfg.test_dataloader.dataset.data_root = str(rooms.parent / 'nyudv2')
    return save(cfg, tmp_path)


@pytest.fixture
def translation(rooms, config, tmp_path) -> tuple[str, str]:
    pytest.importorskip('mmagic')
    cfg = config('cen_unet_shade-texture2rgb_rooms.py')
    cfg.model.generator.base_channels = cfg.model.discriminator.base_channels = 4
    cfg.test_dataloader.dataset.data_root = str(rooms)
    return save(cfg, tmp_path)


@pytest.fixture
def visit(run_tool, monkeypatch):
    """Returns a function that opens the page of a model in the browser and calls ``steps(page, url)``."""
    monkeypatch.setenv('GRADIO_TEMP_DIR', '')  # which the tool changes

    def run(files: tuple[str, str], steps, *options: str) -> str:
        def browse(app) -> None:
            try:
                with playwright.sync_playwright() as tools:
                    browser = tools.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
                    page = browser.new_page(viewport=dict(width=1280, height=900))
                    answered, errors = set(), []
                    page.on('response', lambda response: answered.add(urlsplit(response.url).hostname))
                    page.on('pageerror', lambda error: errors.append(error))
                    page.goto(app.local_url)
                    steps(page, app.local_url)
                    assert not errors
                    assert answered <= {'127.0.0.1', None}  # None: embedded images
                    assert 'rel="preconnect"' not in page.content()
            finally:
                app.close()

        monkeypatch.setattr(gr.Blocks, 'block_thread', browse)
        return run_tool('app.py', *files, '--device', 'cpu', *options)

    return run


def images(page, selector: str) -> list[np.ndarray]:
    """Decodes the embedded images."""
    sources = page.eval_on_selector_all(selector, 'images => images.map(image => image.src)')
    return [np.array(Image.open(io.BytesIO(base64.b64decode(source.partition(',')[2])))) for source in sources]


def cells(page) -> list[list[str]]:
    """The texts of the table of scores."""
    return [row.locator('td').all_inner_texts() for row in page.locator('.cen-view tbody tr').all()]


def titles(page) -> list[str]:
    return page.locator('.cen-view figcaption b').all_inner_texts()


def score(prediction: np.ndarray, label: np.ndarray) -> list[str]:
    """Mean IoU and pixel accuracy in %, as the page shows them."""
    prediction, label = prediction[label < 255], label[label < 255]
    areas = [((prediction == c) & (label == c), (prediction == c) | (label == c)) for c in range(17)]
    ious = [both.sum() / either.sum() for both, either in areas if either.any()]
    return [f'{100 * np.mean(ious):#.4g}', f'{100 * np.mean(prediction == label):#.4g}']


@needs_browser
def test_segmentation(visit, segmentation, rooms, tmp_path):
    model = init_model(*segmentation, 'cpu')
    root, classes = rooms.parent / 'nyudv2', model.dataset_meta['classes']
    first, second = [
        dict(zip(('rgb', 'label', 'depth'), (str(root / path) for path in line.split())))
        for line in (root / 'val.txt').read_text().splitlines()
    ]
    stored = np.array(Image.open(first.pop('label')))  # indices in all 40 classes
    label = np.full_like(stored, 255)
    for i, name in enumerate(classes):
        label[stored == NYUDepthV2Dataset.METAINFO['classes'].index(name)] = i
    del second['label']
    (tmp_path / 'notes.txt').write_text('no image')
    Image.new('L', (200, 200)).save(tmp_path / 'large.png')
    shutil.copy(first['rgb'], tmp_path / '8bit.png')

    def steps(page, url: str) -> None:
        # The first sample of the test data set, with its label.
        page.wait_for_selector('.cen-view')
        want = to_arrays(inference_model(model, first))
        shown = dict(zip(('rgb', 'depth', 'ensemble', 'target'), images(page, '.cen-classes')))
        assert all((shown[name] == image).all() for name, image in dict(want, target=label).items())
        assert cells(page) == [[name, *score(want[name], label)] for name in want]

        # Own files, of which the depth has 16 bits.
        inputs = page.locator('input[type=file]')
        inputs.nth(0).set_input_files(second['rgb'])
        page.wait_for_selector('.filename')
        inputs.nth(0).set_input_files(second['depth'])  # an input with a file is gone
        page.wait_for_selector('.filename >> nth=1')
        page.get_by_role('button', name='Predict').click()
        page.wait_for_function('!document.querySelector(".cen-view table")')
        want = to_arrays(inference_model(model, second))
        assert titles(page) == [
            'input: rgb', 'input: depth', 'prediction: rgb', 'prediction: depth', 'prediction: ensemble',
            'branches disagree',
        ]  # fmt: skip
        assert all((got == want[name]).all() for got, name in zip(images(page, '.cen-classes'), want))
        share = (want['rgb'] != want['depth']).mean()
        assert page.locator('figcaption').last.inner_text() == f'branches disagree {100 * share:.1f} % of pixels'

        # Class names under the pointer, at a pixel of the rarest class.
        values, counts = np.unique(want['rgb'], return_counts=True)
        assert counts.min() < 500  # of 4800 pixels: other pixels have other names
        row, column = np.argwhere(want['rgb'] == values[counts.argmin()])[0]
        figure = page.locator('.cen-layers').nth(2)
        figure.scroll_into_view_if_needed()
        box = figure.bounding_box()
        figure.hover(position=dict(x=(column + 0.5) * box['width'] / 80, y=(row + 0.5) * box['height'] / 60))
        assert page.locator('#cen-tip').inner_text().splitlines() == [
            f'{name}: {classes[array[row, column]]}' for name, array in want.items()
        ]
        page.mouse.move(5, 5)
        assert page.locator('#cen-tip').is_hidden()

        # Opacity.
        page.get_by_role('spinbutton').fill('0.25')
        page.keyboard.press('Tab')
        page.wait_for_function('getComputedStyle(document.querySelector(".cen-overlay")).opacity === "0.25"')

        # Without depth.
        page.get_by_role('checkbox', name='depth').uncheck()
        page.wait_for_selector('text=switched off')
        less = to_arrays(inference_model(model, second, available_modalities=['rgb']))
        assert all((got == less[name]).all() for got, name in zip(images(page, '.cen-classes'), less))
        changed = [[name, f'{100 * (less[name] != want[name]).mean():.1f} % of pixels'] for name in less]
        assert cells(page) == changed

        # Bad files.
        for name, message in {
            'notes.txt': 'depth: notes.txt cannot be decoded (the formats are PNG, JPEG, ',
            'large.png': 'depth: large.png has 200 x 200 = 40000 pixels or values, more than 10000: give a smaller ',
            '8bit.png': '8bit.png is uint8, but depth is uint16: set dtype=',
        }.items():
            page.locator('.cen-file').last.get_by_label('Clear').click()
            inputs.last.set_input_files(tmp_path / name)
            page.wait_for_selector(f'.filename[aria-label="{name}"]')
            page.get_by_role('button', name='Predict').click()
            page.wait_for_selector(f'text={message}')

        # What a program may send instead of the page: a large file, a URL that the server would download.
        api = f'{url}gradio_api'
        assert httpx.post(f'{api}/upload', files=dict(files=bytes(2_000_000))).status_code == 413
        remote = dict(path='https://example.org/a.png', meta=dict(_type='gradio.FileData'))
        for data in ([None, ['rgb'], remote, None], [remote, ['rgb'], None, None]):
            httpx.post(f'{api}/queue/join', json=dict(data=data, fn_index=0, session_hash='test'))
            answer = httpx.get(f'{api}/queue/data', params=dict(session_hash='test'), timeout=30).text
            assert 'The file is not on this server: upload it.' in answer

    said = visit(segmentation, steps, '--max-pixels', '10000', '--max-upload', '1')
    assert 'Open http://127.0.0.1:' in said


@needs_browser
def test_translation(visit, translation, rooms):
    model = init_model(*translation, 'cpu')
    name = (rooms / 'test_domain.txt').read_text().split()[0]
    sample = {m: str(rooms / name.replace('{domain}', m)) for m in model.modalities}

    def steps(page, url: str) -> None:
        page.wait_for_selector('.cen-view')
        want = to_arrays(inference_model(model, sample))
        assert titles(page) == [
            'input: reshading', 'input: edge_texture', 'prediction: reshading', 'prediction: edge_texture',
            'prediction: ensemble', 'target', 'branches disagree',
        ]  # fmt: skip
        shown = images(page, '.cen-layers img:first-child')
        assert all((got == want[name]).all() for got, name in zip(shown[2:], want))
        errors = {name: np.abs(image / 255.0 - shown[5] / 255.0).mean() for name, image in want.items()}
        assert [row[:2] for row in cells(page)] == [[name, f'{error:#.4g}'] for name, error in errors.items()]

        page.get_by_role('checkbox', name='reshading').uncheck()
        page.wait_for_selector('text=switched off')
        less = to_arrays(inference_model(model, sample, available_modalities=['edge_texture']))['ensemble']
        error, change = (
            np.abs(less / 255.0 - shown[5] / 255.0).mean(),
            np.abs(less - want['ensemble'].astype(float)).mean(),
        )
        row = cells(page)[-1]
        assert (row[0], row[1], row[-1]) == (
            'ensemble', f'{errors["ensemble"]:#.4g} → {error:#.4g}', f'mean {change:.1f} of 255',
        )  # fmt: skip

    visit(translation, steps)


def test_mistakes_are_one_sentence(run_tool, segmentation, monkeypatch):
    said = run_tool('app.py', segmentation[0], 'no.pth', fails=True)
    assert said.splitlines()[-1] == 'The checkpoint no.pth does not exist: give the path of a .pth file.'
    monkeypatch.setitem(sys.modules, 'gradio', None)
    said = run_tool('app.py', *segmentation, fails=True)
    assert said.strip() == "The page needs gradio: run `pip install '.[app]'` or `pip install 'gradio>=5.14,<5.15'`."


def test_labels_may_cover_only_the_center(segmentation, rooms, tmp_path, monkeypatch):
    root = shutil.copytree(rooms.parent / 'nyudv2', tmp_path / 'nyudv2')
    for path in (root / 'masks').iterdir():
        image = Image.open(path)
        image.crop((10, 6, image.width - 10, image.height - 6)).save(path)
    cfg = Config.fromfile(segmentation[0])
    cfg.test_dataloader.dataset.data_root = str(root)
    (load_labels,) = [step for step in cfg.test_dataloader.dataset.pipeline if step.type == 'cen_mm.LoadLabels']
    load_labels.crop_to_label = True
    model = init_model(cfg, segmentation[1], 'cpu')
    monkeypatch.syspath_prepend(ROOT / 'tools')
    comparer = importlib.import_module('app_comparison').Comparer(model)
    images, target = comparer.read_sample(0)
    shown = comparer(images, ['rgb', 'depth'], target)
    whole = to_arrays(inference_model(model, images))['ensemble']
    center = whole[6:-6, 10:-10]
    assert np.array_equal(shown.outputs['ensemble'], center)
    assert shown.inputs['rgb'].shape[:2] == shown.target.shape == center.shape
    assert shown.scores['ensemble']['aAcc, %'] == pytest.approx(
        100 * (center == shown.target)[shown.target != 255].mean()
    )
