"""Limits of the page of tools/app.py: which files it accepts, and that it loads nothing from other hosts."""

import math
import os
import zipfile
from pathlib import Path
from typing import Any, Optional

import gradio as gr
import numpy as np
from gradio.components import Component
from PIL import Image
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

FORMATS = ('PNG', 'JPEG', 'TIFF', 'WEBP', 'BMP')
CONTENT_SECURITY_POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"


def check_upload(path: str, name: str, max_pixels: int) -> None:
    """Checks the header of a file, which is not decoded.

    Args:
        path: path of the file.
        name: name of its modality.
        max_pixels: largest number of pixels of an image, or of values of an array.

    Raises:
        ValueError: if the file is not an image or is too large.
    """
    try:
        accepted = _count_pixels(path) <= max_pixels
    except Image.DecompressionBombError:  # Pillow's own limit
        accepted = False
    except Exception:  # Pillow, zipfile and numpy raise errors of many classes
        raise ValueError(
            f'{Path(path).name}, given for {name}, is not an image: give a file of type {", ".join(FORMATS)}, .npy '
            'or .npz.'
        ) from None
    if not accepted:
        raise ValueError(
            f'{Path(path).name}, given for {name}, has more than {max_pixels:,} pixels: reduce the image, or start '
            'the page with a larger --max-pixels.'
        )


def _count_pixels(path: str) -> int:
    if path.endswith('.npy'):
        return np.load(path, mmap_mode='r').size
    if path.endswith('.npz'):
        with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as stream:
            np.lib.format.read_magic(stream)
            return math.prod(np.lib.format.read_array_header_1_0(stream)[0])
    with Image.open(path, formats=FORMATS) as image:
        return math.prod(image.size)


def accept_uploads_only(component: Component) -> None:
    """Makes an input refuse URLs, which Gradio would download for every client of the API, in place of any value."""
    move, schema = component.async_move_resource_to_block_cache, component.api_info()
    # Gradio 5.14 cannot read the True that pydantic 2.11 writes.
    schema.get('properties', {}).get('meta', {}).pop('additionalProperties', None)

    async def move_uploaded(path: str) -> Optional[str]:
        if not os.path.isfile(path):
            raise gr.Error('The file is not on this server: upload it.', print_exception=False)
        return await move(path)

    component.async_move_resource_to_block_cache, component.api_info = move_uploaded, lambda: schema


async def load_from_this_host_only(request: Request, call_next: Any) -> Response:
    """Removes the connections to other hosts from Gradio's page, and forbids them to the browser; a middleware."""
    response = await call_next(request)
    if not response.headers.get('content-type', '').startswith('text/html'):
        return response
    page = b''.join([part async for part in response.body_iterator]).replace(b'rel="preconnect"', b'')
    return HTMLResponse(page, response.status_code, {'Content-Security-Policy': CONTENT_SECURITY_POLICY})
