"""HTML of tools/app.py: pictures with overlays, scores, and the exchange of every layer."""

import base64
import io
import json
from html import escape
from typing import Optional, Sequence

import numpy as np
from app_comparison import Comparison, spread
from mmengine.model import BaseModel
from PIL import Image

from cen_mm.exchange import ENSEMBLE, exchanging_norms

RED = (230, 0, 60)
UNLABELED = 255


def render(comparison: Comparison, meta: dict) -> str:
    """Draws all pictures and the table of scores.

    Args:
        comparison: results of a sample.
        meta: dict with ``classes`` and ``palette``, for segmentation.

    Returns:
        HTML. Pictures are embedded; app_head.html has the style, and the script that names the class of each output
        under the pointer.
    """
    inputs, outputs, before = comparison.inputs, comparison.outputs, comparison.all_outputs
    off = ', '.join(name for name in before if name not in outputs)
    figures = [
        _figure(f'input: {name}', picture, note='' if name in outputs or not off else 'switched off')
        for name, picture in inputs.items()
    ]
    maps = outputs if comparison.target is None else {**outputs, 'target': comparison.target}
    titles = {name: name if name == 'target' else f'prediction: {name}' for name in maps}
    if outputs[ENSEMBLE].ndim == 2:
        classes, legend = list(meta['classes']), _legend(maps, meta)
        gray = _gray(inputs.get('rgb', next(iter(inputs.values()))))
        for name, output in maps.items():
            figures.append(_figure(titles[name], gray, _color(output, meta['palette']), output, name))
    else:
        classes, legend, gray = [], '', _gray(outputs[ENSEMBLE])
        figures += [_figure(titles[name], output) for name, output in maps.items()]
    branches = [output for name, output in outputs.items() if name != ENSEMBLE]
    if len(branches) > 1:
        figures.append(_difference('branches disagree', gray, branches))
    if off:
        figures.append(_difference(f'changed without {off}', gray, [outputs[ENSEMBLE], before[ENSEMBLE]]))
    return (
        f'<div class="cen-view" data-classes="{escape(json.dumps(classes))}">{_scores(comparison, off)}'
        f'<div class="cen-figures">{"".join(figures)}</div>{legend}</div>'
    )


def _figure(
    title: str,
    picture: np.ndarray,
    overlay: Optional[Image.Image] = None,
    classes: Optional[np.ndarray] = None,
    name: str = '',
    note: str = '',
) -> str:
    """Draws a picture ``(h, w[, 3])``, an overlay and, for the script, a hidden image of class indices ``(H, W)``."""
    layers = f'<img src="{_embed(Image.fromarray(picture))}" alt="">'
    if overlay is not None:
        layers += f'<img class="cen-overlay" src="{_embed(overlay)}" alt="">'
    if classes is not None:
        layers += f'<img class="cen-classes" src="{_embed(Image.fromarray(classes))}" alt="{escape(name)}" hidden>'
    return (
        f'<figure><figcaption><b>{escape(title)}</b> {escape(note)}</figcaption>'
        f'<div class="cen-layers">{layers}</div></figure>'
    )


def _difference(title: str, gray: np.ndarray, outputs: Sequence[np.ndarray]) -> str:
    """Draws where outputs differ, in red on a gray picture."""
    values = spread(outputs)
    alpha = 255 * values / max(values.max(), 1e-6)
    overlay = np.dstack([np.full((*values.shape, 3), RED), alpha]).astype(np.uint8)
    return _figure(title, gray, Image.fromarray(overlay), note=_amount(outputs))


def _amount(outputs: Sequence[np.ndarray]) -> str:
    """Says how much outputs differ."""
    mean = spread(outputs).mean()
    return f'{100 * mean:.1f} % of pixels' if outputs[0].ndim == 2 else f'mean {255 * mean:.1f} of 255'


def _gray(picture: np.ndarray) -> np.ndarray:
    """Removes the colors of a picture ``(h, w, 3)``, which would mix with those of the classes."""
    return np.asarray(Image.fromarray(picture).convert('L'))


def _color(classes: np.ndarray, palette: Sequence[Sequence[int]]) -> Image.Image:
    """Colors class indices ``(H, W)``; unlabeled pixels are transparent."""
    image = Image.fromarray(classes)
    image.putpalette(np.array(palette, np.uint8).tobytes())
    image.info['transparency'] = UNLABELED
    return image


def _embed(image: Image.Image) -> str:
    stream = io.BytesIO()
    image.save(stream, 'PNG')
    return f'data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}'


def _legend(maps: dict[str, np.ndarray], meta: dict) -> str:
    indices = np.unique(np.concatenate([np.unique(classes) for classes in maps.values()]))
    items = [
        f'<span><i style="background: rgb{tuple(meta["palette"][i])}"></i>{escape(meta["classes"][i])}</span>'
        for i in indices
        if i < len(meta['classes'])
    ]
    return f'<div class="cen-legend">{"".join(items)}</div>'


def _scores(comparison: Comparison, off: str) -> str:
    """Draws a table with a row per branch: scores, and what changes without the modalities that are switched off."""
    outputs, scores, before = comparison.outputs, comparison.scores, comparison.all_scores
    keys = list(scores.get(ENSEMBLE, {}))
    rows = []
    for name in outputs:
        row = [name, *(f'{scores[name][key]:#.4g}' for key in keys)]
        if off:
            row[1:] = [f'{before[name][key]:#.4g} → {text}' for key, text in zip(keys, row[1:])]
            row.append(_amount([outputs[name], comparison.all_outputs[name]]))
        rows.append(row)
    header = ['branch', *keys, *([f'changed without {off}'] if off else [])]
    note = f'<p>With all modalities → without {escape(off)}</p>' if off and keys else ''
    return note + _table(header, rows) if len(header) > 1 else ''


def _table(header: list[str], rows: list[list[str]]) -> str:
    """Draws a table; cells that start with ``<td`` are HTML already."""
    head = ''.join(f'<th>{escape(text)}</th>' for text in header)
    body = ''.join(
        f'<tr>{"".join(cell if cell.startswith("<td") else f"<td>{escape(cell)}</td>" for cell in row)}</tr>'
        for row in rows
    )
    return f'<div class="cen-table"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def render_exchange(model: BaseModel) -> tuple[str, str]:
    """Draws the share of replaced channels of every exchanging layer and modality.

    Returns:
        A title with the total share, and a table with a bar in every cell, as HTML.
    """
    norms = exchanging_norms(model, with_unused=False)
    masks = {name: norm.replaced.cpu() for name, norm in norms}  # (M, C) bool each
    if not masks:
        return 'This model does not exchange channels', ''
    total = sum(int(mask.sum()) for mask in masks.values()) / sum(mask.numel() for mask in masks.values())
    rows = [
        [name, str(mask.shape[1]), *(_bar(share) for share in mask.float().mean(1).tolist())]
        for name, mask in masks.items()
    ]
    title = f'Exchange: {100 * total:.1f} % of the channels in {len(masks)} layers are replaced'
    return title, _table(['layer', 'channels', *(f'replaced in {name}' for name in model.modalities)], rows)


def _bar(share: float) -> str:
    return f'<td class="cen-bar" style="--share: {share:.1%}">{100 * share:.1f} %</td>'
