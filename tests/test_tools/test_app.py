"""The page to try a model, used in a real browser: it shows what inference_model predicts, and refuses bad files."""

import base64
import io
import re
import shutil
import struct
import sys
import zlib
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from PIL import Image

from cen_mm.apis import inference_model, init_model, to_arrays

gr = pytest.importorskip('gradio')
client = pytest.importorskip('gradio_client')
playwright = pytest.importorskip('playwright.sync_api')
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
                    page.on('pageerror', errors.append)
                    page.goto(app.local_url)
                    steps(page, app.local_url)
                    assert not errors
                    assert answered <= {'127.0.0.1', None}  # None: embedded images
                    assert 'href="https://fonts.googleapis.com"' not in re.findall('<link[^>]*preconnect[^>]*', page.content())
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
    return [f'{100 * np.mean(ious):.4g}', f'{100 * np.mean(prediction == label):.4g}']


@needs_browser
def test_segmentation(visit, segmentation, rooms, tmp_path):
    model = init_model(*segmentation, 'cpu')
    root, classes = rooms.parent / 'nyudv2', model.dataset_meta['classes']
    first, second = [
        dict(zip(('rgb', 'label', 'depth'), (str(root / path) for path in line.split())))
        for line in (root / 'val.txt').read_text().splitlines()
    ]
    label = np.array(Image.open(first.pop('label')))
    second.pop('label')
    (tmp_path / 'notes.txt').write_text('no image')
    Image.new('L', (200, 200)).save(tmp_path / 'large.png')
    (tmp_path / 'heavy.bin').write_bytes(bytes(2_000_000))

    def steps(page, url: str) -> None:
        # The first sample of the test data set, with its label.
        page.wait_for_selector('.cen-view')
        want = to_arrays(inference_model(model, first))
        shown = dict(zip(('rgb', 'depth', 'ensemble', 'target'), images(page, '.cen-classes')))
        dataset = model.cfg.test_dataloader.dataset
        assert all((shown[name] == want[name]).all() for name in want)
        names = dataset.metainfo.classes
        assert {names[i] if i < 255 else None for i in np.unique(shown['target'])} <= {*names, None}
        assert cells(page) == [[name, *score(want[name], shown['target'])] for name in want]

        # Own files, of which the depth has 16 bits.
        inputs = page.locator('input[type=file]')
        inputs.nth(0).set_input_files(second['rgb'])
        inputs.nth(0).set_input_files(second['depth'])
        page.wait_for_selector('text=' + Path(second['depth']).stem)
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

        # Class names under the pointer, at row 20, column 30 of the image.
        figure = page.locator('.cen-layers').nth(2)
        figure.scroll_into_view_if_needed()
        box = figure.bounding_box()
        figure.hover(position=dict(x=30.5 * box['width'] / 80, y=20.5 * box['height'] / 60))
        assert page.locator('#cen-tip').inner_text().splitlines() == [
            f'{name}: {classes[array[20, 30]]}' for name, array in want.items()
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
            'notes.txt': 'notes.txt, given for depth, is not an image: give a file of type PNG, ',
            'large.png': 'large.png, given for depth, has 40,000 pixels, but the page accepts 10,000: reduce the ',
        }.items():
            page.get_by_label('Remove').last.click()
            inputs.last.set_input_files(tmp_path / name)
            page.wait_for_selector(f'text={name}')
            page.get_by_role('button', name='Predict').click()
            page.wait_for_selector(f'text={message}')

    said = visit(segmentation, steps, '--max-pixels', '10000', '--max-upload', '1')
    assert 'Open http://127.0.0.1:' in said
