"""Opens a page to try a model in the browser: on your own images, or on samples of the config's test data set.

python tools/app.py CONFIG CHECKPOINT

The page shows the prediction of every branch and of the ensemble, where branches disagree, what is lost without a
modality, and how much every layer exchanges. It needs gradio: pip install '.[app]'.
"""

import argparse
import os
import signal
import tempfile
from html import escape
from pathlib import Path
from typing import Optional

from mmengine.config import Config, DictAction

from cen_mm import config_argument
from cen_mm.apis import init_model

os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'
try:
    import gradio as gr
except ImportError:
    raise SystemExit(
        "The page needs gradio: run `pip install '.[app]'` or `pip install 'gradio>=5.14,<5.15'`."
    ) from None

from app_comparison import Comparer
from app_limits import accept_uploads_only, check_upload, load_from_this_host_only
from app_view import render, render_exchange
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware

FONT = (gr.themes.Font('system-ui'), gr.themes.Font('sans-serif'))  # the default is loaded from Google
HINT = 'Drop an image for each modality, and press Predict.'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=config_argument, help='config file, or cen_mm::NAME for a config of cen_mm')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--device', help='device of the model (default: the GPU if there is one)')
    parser.add_argument(
        '--host',
        default='127.0.0.1',
        help='address to listen on; 0.0.0.0 lets all computers of the network use the page (default: 127.0.0.1)',
    )
    parser.add_argument('--port', type=int, help='port to listen on (default: the first free one from 7860)')
    parser.add_argument('--max-upload', type=int, default=50, metavar='MB', help='largest file in MB (default: 50)')
    parser.add_argument(
        '--max-pixels', type=int, default=4_000_000, help='largest number of pixels of an image (default: 4000000)'
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='settings to override: key=value')
    return parser.parse_args()


def build_page(comparer: Comparer, max_pixels: int) -> gr.Blocks:
    """Builds the page; ``max_pixels`` is the largest number of pixels of an uploaded image."""
    model = comparer.model
    modalities = list(model.available_modalities)
    samples = comparer.list_samples()

    def compare(sample: Optional[str], switched_on: list[str], *files: Optional[str]) -> str:
        uploads = {name: file for name, file in zip(modalities, files) if file}
        try:
            for name, file in uploads.items():
                check_upload(file, name, max_pixels)
            images, target = uploads, None
            if not uploads and sample is not None:
                images, target = comparer.read_sample(samples.index(sample))
            return render(comparer(images, switched_on, target), model.dataset_meta)
        except (OSError, ValueError) as error:
            message = str(error)
            for file in uploads.values():
                message = message.replace(file, Path(file).name)
            raise gr.Error(escape(message), print_exception=False) from None

    title, head = Path(model.cfg.filename).stem, Path(__file__).with_name('app_head.html')
    theme = gr.themes.Default(font=FONT, font_mono=FONT)
    with gr.Blocks(theme, title=title, analytics_enabled=False, head_paths=head, delete_cache=(3600, 3600)) as page:
        gr.Markdown(f'## {title}')
        with gr.Row():
            with gr.Column(scale=1, min_width=260):
                sample = gr.Dropdown(
                    samples,
                    value=samples[0] if samples else None,
                    label='Sample of the test data set',
                    visible=bool(samples),
                )
                files = [
                    gr.File(label=f'Your image: {name}', height=120, elem_classes='cen-file') for name in modalities
                ]
                button = gr.Button('Predict', variant='primary')
                switched_on = gr.CheckboxGroup(modalities, value=modalities, label='Modalities that are switched on')
                opacity = gr.Slider(0, 1, 0.6, label='Opacity of the overlays')
            with gr.Column(scale=4):
                view = gr.HTML(HINT)
                exchange, table = render_exchange(model)
                with gr.Accordion(exchange, open=False):
                    gr.HTML(table)
        request = dict(fn=compare, inputs=[sample, switched_on, *files], outputs=view)
        for component in request['inputs']:
            accept_uploads_only(component)
        button.click(**request, api_name='predict')
        switched_on.input(**request, api_name=False)
        sample.input(lambda: [None] * len(files), None, files, api_name=False).then(**request, api_name=False)
        for file in files:
            file.upload(lambda: None, None, sample, api_name=False)
        opacity.input(None, opacity, js="value => document.documentElement.style.setProperty('--cen-opacity', value)")
        if samples:
            page.load(**request, api_name=False)
    return page.queue(max_size=100, api_open=False)


def main() -> None:
    args = parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the uploads are deleted then, too
    try:
        cfg = Config.fromfile(args.config)
        cfg.merge_from_dict(args.cfg_options or {})
        comparer = Comparer(init_model(cfg, args.checkpoint, args.device))
        with tempfile.TemporaryDirectory(prefix='cen_mm_app_') as uploads:
            os.environ['GRADIO_TEMP_DIR'] = uploads
            page = build_page(comparer, args.max_pixels)
            _, url, _ = page.launch(
                server_name=args.host,
                server_port=args.port,
                max_file_size=f'{args.max_upload}mb',
                app_kwargs=dict(middleware=[Middleware(BaseHTTPMiddleware, dispatch=load_from_this_host_only)]),
                enable_monitoring=False,
                ssr_mode=False,
                share=False,
                quiet=True,
                prevent_thread_lock=True,
            )
            print(f'Open {url} in a browser. Ctrl-C ends the page.')
            page.block_thread()
    except (OSError, RuntimeError, ValueError) as error:
        raise SystemExit(str(error)) from None


if __name__ == '__main__':
    main()
