"""Limits of the page of tools/app.py: which files it accepts, and that it loads nothing from other hosts."""

import os
from typing import Any, Optional

import gradio as gr
from gradio.components import Component
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from cen_mm.datasets.files import BadFileError
from cen_mm.datasets.modality import read_image

CONTENT_SECURITY_POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"


def check_upload(path: str, name: str, max_pixels: int) -> None:
    """Checks an uploaded file of a modality; the size in its header is checked before it is decoded.

    Raises:
        ValueError: if the file is not an image or has more than ``max_pixels`` pixels.
    """
    try:
        read_image(path, max_pixels=max_pixels)
    except BadFileError as error:
        message = f'{name}: {error}'
        if error.kind == 'too large':
            what = message.rpartition(':')[0]
            message = f'{what}: give a smaller image, or start the page with a larger --max-pixels.'
        raise ValueError(message) from None


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
