"""Running an exported file, alone or in place of the network of a model."""

import importlib.util
import json
from pathlib import Path
from typing import Any, Mapping, Union

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmengine.utils import digit_version
from torch import Tensor

SUFFIXES = dict(onnx='.onnx', torchexport='.pt2')
# Keys of the metadata: 'inside' or 'outside', and names of the classes, means and standard deviations in JSON
PREPROCESSING, CLASSES, MEAN, STD = (f'cen_mm.{key}' for key in ('preprocessing', 'classes', 'mean', 'std'))


class ExportError(RuntimeError):
    """A model that cannot be exported, or an exported file that cannot be used; the message says why."""


def check_installed(file: Union[str, Path], *packages: str) -> None:
    """Raises ExportError if the format of the file needs a package that is missing, or a newer torch."""
    if Path(file).suffix not in SUFFIXES.values():
        raise ExportError(f'{file} must end with {" or ".join(SUFFIXES.values())}.')
    if digit_version(torch.__version__) < digit_version('2.6'):
        raise ExportError(
            f'Exported models need torch 2.6 or newer, and this is torch {torch.__version__}: update it.'
        )
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if Path(file).suffix == '.onnx' and missing:
        raise ExportError(f"ONNX needs {', '.join(missing)}: run `pip install 'cen_mm[deployment]'`.")


def first_line(error: Exception) -> str:
    """Returns the first line of an error's message, or its type if there is no message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class ExportedModel:
    """Runs a file written by :func:`~cen_mm.apis.export_model`.

    Args:
        file: ``.onnx`` file, run by ONNX Runtime, or ``.pt2`` file, run by PyTorch on the CPU.
        device: where ONNX Runtime runs. ``'cuda'``: on torch's current GPU if ONNX Runtime supports it.

    Raises:
        ExportError: if the file does not exist or cannot be loaded, or a package is missing.
    """

    def __init__(self, file: Union[str, Path], device: str = 'cpu'):
        check_installed(file, 'onnxruntime')
        if not Path(file).is_file():
            raise ExportError(f'The exported model {file} does not exist: write it with tools/deployment/export.py.')
        is_onnx = Path(file).suffix == '.onnx'
        try:
            # Type and number of channels of each input, metadata, and the function that runs the network
            self.inputs, self.metadata, self._run = (
                _load_onnx(str(file), device) if is_onnx else _load_program(str(file))
            )
        except Exception as error:  # both libraries raise many types
            raise ExportError(f'{file} cannot be loaded ({first_line(error)}): export the model again.') from error
        self.preprocesses = self.metadata[PREPROCESSING] == 'inside'

    def __call__(self, images: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Computes ``{'rgb_logits': .., 'ensemble_logits': ..}`` from images ``(B, C, H, W)`` of each modality."""
        return self._run({name: images[name].cpu() for name in self.inputs})


def _load_onnx(file: str, device: str) -> tuple[dict, Any, Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()  # by default, every process uses all cores
    providers: list = ['CPUExecutionProvider']
    if device == 'cuda' and 'CUDAExecutionProvider' in onnxruntime.get_available_providers():
        # By default, the processes of a distributed test would share the first GPU, and convolutions use TF32.
        providers.insert(0, ('CUDAExecutionProvider', dict(device_id=torch.cuda.current_device(), use_tf32=0)))
    session = onnxruntime.InferenceSession(file, options, providers=providers)
    print_log(f'{file} runs in ONNX Runtime with {session.get_providers()[0]}', 'current')
    types = {'tensor(uint8)': torch.uint8, 'tensor(float)': torch.float32}
    inputs = {node.name: (types[node.type], node.shape[1]) for node in session.get_inputs()}
    outputs = [node.name for node in session.get_outputs()]

    def run(images: dict[str, Tensor]) -> dict[str, Tensor]:
        arrays = session.run(outputs, {name: image.numpy() for name, image in images.items()})
        return dict(zip(outputs, map(torch.from_numpy, arrays)))

    return inputs, session.get_modelmeta().custom_metadata_map, run


def _load_program(file: str) -> tuple[dict, Any, Any]:
    metadata = dict.fromkeys((PREPROCESSING, CLASSES, MEAN, STD), '')
    program = torch.export.load(file, extra_files=metadata)
    values = {node.name: node.meta['val'] for node in program.graph.nodes if node.op == 'placeholder'}
    inputs = {name: (values[name].dtype, values[name].shape[1]) for name in program.graph_signature.user_inputs}
    network = program.module()

    def run(images: dict[str, Tensor]) -> dict[str, Tensor]:
        with torch.no_grad():
            return network(**images)

    return inputs, metadata, run


def describe_model(model: BaseModel) -> dict[str, str]:
    """Returns the classes of a model, and the mean and standard deviation of its modalities, as metadata."""
    metadata = {}
    if classes := getattr(model, 'dataset_meta', {}).get('classes'):
        metadata[CLASSES] = json.dumps(list(classes))
    preprocessor = model.data_preprocessor
    for key in (MEAN, STD) if hasattr(preprocessor, 'channels') else ():
        parts = getattr(preprocessor, key.split('.')[1]).flatten().split(list(preprocessor.channels.values()))
        values = {name: [round(x, 6) for x in part.tolist()] for name, part in zip(preprocessor.channels, parts)}
        metadata[key] = json.dumps(values)
    return metadata


def use_exported(model: BaseModel, file: Union[str, Path]) -> None:
    """Makes a model compute its outputs with an exported file; its own network is not used any more.

    Sliding windows, test-time augmentation, metrics, visualizers and hooks work as before; losses cannot be computed.
    Class indices of the file become one-hot logits.

    Args:
        model: the model of the config that was exported; its weights do not matter.
        file: exported file.

    Raises:
        ExportError: if the file has other modalities, classes, means or standard deviations than the model, or cannot
            be used, or the model uses another file already.
    """
    if hasattr(model, 'exported'):
        raise ExportError(f'The model uses {model.exported} already: build another one with init_model.')
    exported = ExportedModel(file, next(model.parameters()).device.type)
    if tuple(exported.inputs) != model.available_modalities:
        raise ExportError(
            f'{file} has the inputs {", ".join(exported.inputs)}, but the modalities of the model are '
            f'{", ".join(model.available_modalities)}: test it with --available-modalities '
            f'{" ".join(exported.inputs)}, or export a file with these modalities.'
        )
    for key, value in describe_model(model).items():
        theirs = exported.metadata.get(key)
        if theirs and theirs != value and (key == CLASSES or not exported.preprocesses):
            raise ExportError(
                f'{file} was exported with {key.split(".")[1]} {theirs}, but the config has {value}: use the config '
                'with which it was exported.'
            )
    model.exported = str(file)
    is_segmentor = hasattr(model, 'encode_decode')
    sizes = list(model.data_preprocessor.channels.values()) if is_segmentor else 3
    if exported.preprocesses and is_segmentor:  # only converts, pads and stacks
        pre = model.data_preprocessor
        pre.normalized_pad.mul_(pre.std).add_(pre.mean)
        pre.mean.zero_(), pre.std.fill_(1)
        pre.reversed = set()

    def run(inputs: Tensor) -> dict[str, Tensor]:
        if exported.preprocesses and not is_segmentor:  # the pipeline has scaled the images to [-1, 1]
            inputs = ((inputs + 1) * 127.5).round_(decimals=3)
        parts = zip(exported.inputs.items(), inputs.split(sizes, dim=1))
        outputs = exported({name: part[:, :channels].to(dtype) for (name, (dtype, channels)), part in parts})
        return {name.rpartition('_')[0]: output.to(inputs.device) for name, output in outputs.items()}

    def encode_decode(inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        outputs = [_as_logits(output, model.decode_head.out_channels) for output in run(inputs).values()]
        return torch.cat(outputs, dim=1)

    def branches(*args: Any, **kwargs: Any) -> dict[str, Tensor]:
        raise ExportError(f'{file} has resized logits or classes: use inference_model instead of model.branches.')

    if is_segmentor:
        model.encode_decode, model.branches = encode_decode, branches
    else:
        model.branches = run


def _as_logits(output: Tensor, num_channels: int) -> Tensor:
    """Converts class indices ``(B, H, W)`` to logits ``(B, K, H, W)``; logits are returned as they are."""
    if output.is_floating_point():
        return output
    if num_channels == 1:  # two classes, separated by the threshold of the head
        return torch.where(output[:, None] > 0, 20.0, -20.0)
    return F.one_hot(output.long(), num_channels).movedim(-1, 1).float()
