"""Exporting a trained model to ONNX or to a program of torch.export, and comparing the file with PyTorch."""

import os
from pathlib import Path
from typing import Any, Iterator, Mapping, Optional, Union

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModel
from torch import Tensor

from .exportable import ExportableModel
from .exported import PREPROCESSING, ExportedModel, ExportError, check_installed, describe_model, first_line

MIN_SIDE = 64  # smallest height and width, in pixels
TOLERANCE = 1e-3  # largest accepted difference, as a part of the largest output


def export_model(
    model: BaseModel,
    file: Union[str, Path],
    images: Optional[Mapping[str, Tensor]] = None,
    argmax: bool = False,
    size: tuple[int, int] = (480, 640),
) -> float:
    """Exports a model with dynamic batch, height and width, and compares the file with PyTorch at several sizes.

    The inputs are named after the modalities. The outputs are named after the branches: ``rgb_logits``,
    ``depth_logits`` and ``ensemble_logits``, ``(B, K, H, W)``, resized to the size of the input as in tests; with
    ``argmax``, ``rgb_classes`` and so on, ``(B, H, W)`` uint8; for translation, ``reshading_image`` and so on,
    ``(B, 3, H, W)`` in [-1, 1].

    Args:
        model: model that :func:`~cen_mm.apis.init_model` returns, on the CPU.
        file: file to write: ``.onnx``, or ``.pt2`` for a program of torch.export.
        images: images of one sample as the pipeline loads them, ``(C, H, W)`` per modality, uint8 or float32: the
            exported model takes images of these types and normalizes them. None: it takes normalized images.
        argmax: whether the outputs are class indices.
        size: height and width of the images with which the model is exported.

    Returns:
        The largest difference from PyTorch, as a part of the largest output. For class indices, it is the difference
        between the logits of the best class and of the exported class.

    Raises:
        ExportError: if a package is missing, the model cannot be exported, or the difference is larger than 1e-3. The
            file is not written then.
    """
    check_installed(file, 'onnx', 'onnxscript', 'onnxruntime')
    step = 2 ** len(model.generators['target'].encoder) if hasattr(model, 'generators') else 1
    _check_options(model, images is not None, argmax, size, step)
    network = ExportableModel(model, images is not None, argmax).eval()
    if images is None:
        channels = getattr(model.data_preprocessor, 'channels', {})
        images = {name: torch.randn(channels.get(name, 3), *size) for name in model.available_modalities}
    images = {name: images[name] for name in model.available_modalities}
    part = Path(file).with_name(f'part_of_{Path(file).name}')
    try:
        print_log(f'Exporting for two images of {size[0]}x{size[1]}; other numbers and sizes work, too.')
        try:
            # What a program without cen_mm needs: where images are normalized, by which values, and the classes
            metadata = {PREPROCESSING: 'inside' if network.preprocesses else 'outside', **describe_model(model)}
            _write(network, _resize(images, 2, *size), part, metadata)
        except Exception as error:  # of torch.export and torch.onnx
            raise ExportError(f'torch {torch.__version__} cannot export the model: {first_line(error)}') from error
        exported, differences = ExportedModel(part), []
        for shape in _shapes(size, step):
            batch = _resize(images, *shape)
            expected = _expected(model, batch, network.preprocesses)
            differences.append(_difference(exported(batch), expected, model))
            print_log(f'Largest difference from PyTorch, {shape[0]} x {shape[1]}x{shape[2]}: {differences[-1]:.1e}')
        largest = float(torch.tensor(differences).max())  # NaN if one is NaN
        if not largest <= TOLERANCE:
            raise ExportError(
                f'The exported model differs from PyTorch by {largest:.1e} of the largest output, more than '
                f'{TOLERANCE}, so {file} was not written.'
            )
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)
    return largest


def _check_options(model: BaseModel, preprocess: bool, argmax: bool, size: tuple[int, int], step: int) -> None:
    """Raises ExportError for options that the model does not support."""
    if getattr(model, 'test_mode', '') == 'authors':
        raise ExportError("model.test_mode='authors' uses dropout in tests: export with test_mode='deterministic'.")
    if argmax and not hasattr(model, 'encode_decode'):
        raise ExportError('A translation model has no classes: export it without argmax.')
    if preprocess and getattr(model.data_preprocessor, 'test_cfg', None):
        raise ExportError('data_preprocessor.test_cfg pads the images: export without preprocessing, and pad before.')
    if min(size) < MIN_SIDE or any(side % step for side in size):
        multiple = f', and multiples of {step}' if step > 1 else ''
        raise ExportError(f'Height and width, {size[0]}x{size[1]}, must be at least {MIN_SIDE}{multiple}.')


def _write(network: ExportableModel, images: dict[str, Tensor], file: Path, metadata: dict[str, str]) -> None:
    """Exports the network with images ``(B, C, H, W)`` and writes the file."""
    dynamic = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    with torch.no_grad():
        program = torch.export.export(network, (), images, dynamic_shapes=dict.fromkeys(images, dynamic), strict=False)
    if file.suffix == '.pt2':
        torch.export.save(program, file, extra_files=metadata)
        return
    onnx: Any = torch.onnx.export(program, dynamo=True, verbose=False, output_names=network.output_names)
    onnx.model.metadata_props.update(metadata)
    for value in (*onnx.model.graph.inputs, *onnx.model.graph.outputs):
        for axis, name in {0: 'batch', -2: 'height', -1: 'width'}.items():
            value.shape[axis] = name
    onnx.save(file)


def _shapes(size: tuple[int, int], step: int) -> Iterator[tuple[int, int, int]]:
    """Yields batch, height and width of each comparison: as exported, transposed, and smaller with odd sides."""
    height, width = size
    yield 1, height, width
    yield 2, width, height
    height, width = (max(MIN_SIDE, step, side // 2 // step * step) + (step == 1) for side in size)
    yield 3, height, width


def _resize(images: Mapping[str, Tensor], batch: int, height: int, width: int) -> dict[str, Tensor]:
    """Resizes ``(C, h, w)`` to ``(B, C, H, W)`` (nearest); the images of the batch are shifted to differ."""
    batches = {}
    for name, image in images.items():
        rows, columns = (torch.arange(n) * size // n for n, size in zip((height, width), image.shape[1:]))
        resized = image[:, rows][..., columns]
        batches[name] = torch.stack([resized.roll(9 * i, -1) for i in range(batch)])
    return batches


@torch.no_grad()
def _expected(model: BaseModel, images: dict[str, Tensor], preprocess: bool) -> list[Tensor]:
    """Runs the original model; returns logits ``(B, K, H, W)``, or images, of every output."""
    if not hasattr(model, 'encode_decode'):
        scaled = [x.float().expand(-1, 3, -1, -1) / 127.5 - 1 if preprocess else x for x in images.values()]
        return list(model.branches(torch.cat(scaled, dim=1)).values())
    joined = model.data_preprocessor(dict(inputs=images))['inputs'] if preprocess else torch.cat([*images.values()], 1)
    return list(model.encode_decode(joined, []).chunk(len(model.outputs), dim=1))


def _difference(outputs: dict[str, Tensor], expected: list[Tensor], model: BaseModel) -> float:
    """Largest difference, as a part of the largest expected value; NaN if an output has NaN."""
    differences = []
    for output, want in zip(outputs.values(), expected):
        difference = output - want if output.is_floating_point() else _margin(output, want, model)
        differences.append(difference.abs().max() / want.abs().max())
    return float(torch.stack(differences).max())


def _margin(classes: Tensor, logits: Tensor, model: BaseModel) -> Tensor:
    """How much the logit of the given class ``(B, H, W)`` is below that of the best class, ``(B, H, W)``."""
    if logits.shape[1] == 1:  # two classes, separated by the threshold of the head
        threshold = float(torch.tensor(model.decode_head.threshold).logit())
        logits = torch.cat([torch.full_like(logits, threshold), logits], dim=1)
    return logits.amax(1) - logits.gather(1, classes[:, None].long())[:, 0]
