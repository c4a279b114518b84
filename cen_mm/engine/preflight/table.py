"""The table that is printed before training."""

from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.runner import Runner
from torch import Tensor, nn

from ...exchange import exchanging_norms
from ..console import format_table
from ..optim import all_wrappers
from .built import pretrained_weights
from .data import UNLABELED, Images


def draw_images(images: dict[str, Images]) -> str:
    """Draws a table of the normalized values of each modality, without invalid pixels."""
    rows = []
    for name, each in images.items():
        x = each.values
        numbers = [x.mean(), x.std(), x.min(), x.max()] if x.numel() else [torch.nan] * 4
        rows.append([name, *(f'{float(number):.3g}' for number in numbers), f'{each.invalid:.1%}'])
    return format_table(['modality', 'mean', 'std', 'min', 'max', 'invalid'], rows)


def draw_groups(optim_wrapper: Any) -> str:
    """Draws a table of the parameter groups; groups with equal options are joined."""
    counts: dict[tuple, list[int]] = {}
    for name, wrapper in all_wrappers(optim_wrapper).items():
        for group in wrapper.param_groups:
            key = (name, group.get('initial_lr', group['lr']), group.get('weight_decay', 0))
            count = counts.setdefault(key, [0, 0])
            count[0] += len(group['params'])
            count[1] += sum(parameter.numel() for parameter in group['params'])
    rows = [
        [name, f'{lr:.3g}', f'{decay:.3g}', tensors, f'{parameters:,}']
        for (name, lr, decay), (tensors, parameters) in counts.items()
    ]
    return format_table(['parameters of', 'learning rate', 'weight decay', 'tensors', 'parameters'], rows)


def describe_classes(counts: Tensor, classes: Any) -> str:
    """Lists the share of each class among the labeled pixels, and the share of unlabeled pixels."""
    shares = counts[: len(classes)] / counts[:UNLABELED].sum()
    seen = [f'{name} {share:.1%}' for name, share in zip(classes, shares.tolist()) if share]
    unseen = [name for name, share in zip(classes, shares.tolist()) if not share]
    text = (
        f'{len(classes)} classes: {", ".join(seen)}; unlabeled: {counts[UNLABELED] / counts.sum():.1%} of all pixels'
    )
    return text + (f'; not in these samples: {", ".join(unseen)}' if unseen else '')


def describe_exchange(model: nn.Module) -> str:
    """Says how many layers exchange how many channels, and the share below the threshold per modality."""
    norms = [norm for _, norm in exchanging_norms(model, with_unused=False)]
    if not norms:
        return 'no layer exchanges channels'
    with torch.no_grad():
        replaced = torch.cat([norm.replaced for norm in norms], dim=1)  # (M, channels of all layers)
    shares = zip(norms[0].modalities, replaced.float().mean(1).tolist())
    thresholds = sorted({str(norm.threshold) for norm in norms})
    return (
        f'{len(norms)} exchanging layers with {replaced.shape[1]} channels; below the threshold of '
        f'{", ".join(thresholds)}: {", ".join(f"{name} {share:.1%}" for name, share in shares)}'
    )


def describe_run(runner: Runner, packed: dict) -> list[str]:
    """Describes the numbers and size of the samples, the effective batch, and the weights at the start.

    Args:
        runner: the runner.
        packed: a packed training sample.
    """
    loader = runner.train_dataloader
    accumulation = next(iter(all_wrappers(runner.optim_wrapper).values()))._accumulative_counts
    height, width = packed['data_samples'].img_shape[:2]
    batch = loader.batch_size * get_world_size() * accumulation
    samples = f'{len(loader.dataset)} training samples'
    if runner.val_loop is not None:
        samples += f', {len(runner.val_dataloader.dataset)} validation samples'
    weights = list(pretrained_weights(runner.cfg.model)) or ['random']
    if runner._load_from:
        weights = [runner._load_from]
    if runner.iter:
        weights = [f'{runner._load_from or runner.work_dir}, resumed after iteration {runner.iter}']
    return [
        f'{samples}; {runner.max_iters} iterations; input of {height}x{width} pixels (height x width)',
        f'effective batch: {batch} = {loader.batch_size} samples x {get_world_size()} processes x {accumulation} '
        'accumulated iterations',
        f'weights: {"; ".join(weights)}',
    ]
