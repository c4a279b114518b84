"""Parameter names of CEN-RefineNet: the authors' names and ours."""

import re

import torch

BLOCKS = {(3, 4, 6, 3): 50, (3, 4, 23, 3): 101, (3, 8, 36, 3): 152}
BACKBONE = re.compile(r'(conv1|bn1|layer[1-4]\.\d+\.(conv[123]|bn[123]|downsample\.[01]))\.')


def decoder_names() -> dict[str, str]:
    """Maps the authors' layer names in the decoder and the classifier to ours."""
    names = {'clf_conv': 'decode_head.conv_seg'}
    for level in range(1, 5):
        ours = f'neck.blocks.{level - 1}'
        names[f'p_ims1d2_outl{level}_dimred'] = f'{ours}.reduce_conv'
        if level > 1:
            names[f'adapt_stage{level}_b2_joint_varout_dimred'] = f'{ours}.fusion_conv'
        for link in range(4):
            names[f'mflow_conv_g{level}_pool.0.{link + 1}_outvar_dimred'] = f'{ours}.pool.convs.{link}'
        for stage, units, num_units in (
            (f'adapt_stage{level}', 'input_units', 2),
            (f'mflow_conv_g{level}', 'output_units', 3),
        ):
            for unit in range(num_units):
                names[f'{stage}_b.0.{unit + 1}_conv'] = f'{ours}.{units}.units.{unit}.0'
                names[f'{stage}_b.0.{unit + 1}_conv_relu_varout_dimred'] = f'{ours}.{units}.units.{unit}.2'
        if level < 4:
            names[f'mflow_conv_g{level}_b3_joint_varout_dimred'] = f'{ours}.output_conv'
    return names


DECODER = decoder_names()
DECODER_BACK = {ours: theirs for theirs, ours in DECODER.items()}


def to_ours(key: str) -> str:
    """Converts a key of the authors to ours. Returns an empty string for an unknown key."""
    layer, _, parameter = key.replace('.module.', '.').rpartition('.')
    if key == 'alpha':
        return 'ensemble.alpha'
    if layer in DECODER:
        return f'{DECODER[layer]}.{parameter}'
    return (
        'backbone.' + re.sub(r'\.bn_(\d)\.', r'.norms.\1.', key).replace('.module.', '.')
        if BACKBONE.match(key)
        else ''
    )


def to_theirs(key: str) -> str:
    """Converts one of our keys to the authors' key. Returns an empty string for an unknown key."""
    layer, _, parameter = key.rpartition('.')
    if key == 'ensemble.alpha':
        return 'alpha'
    if layer in DECODER_BACK:
        return f'{DECODER_BACK[layer]}.module.{parameter}'
    key = key[len('backbone.') :] if key.startswith('backbone.') else ''
    if '.norms.' in key:
        return re.sub(r'\.norms\.(\d)\.', r'.bn_\1.', key)
    return re.sub(r'\.weight$', '.module.weight', key) if BACKBONE.match(key) else ''


def describe(state_dict: dict[str, torch.Tensor]) -> str:
    """Describes one of our state dicts: the depth of the network, and the numbers of classes and modalities.

    Raises:
        ValueError: if a part is missing, or the backbone is not ResNet-50, 101 or 152.
    """
    missing = [key for key in ('ensemble.alpha', 'decode_head.conv_seg.weight', 'backbone.conv1.weight') if
               key not in state_dict]  # fmt: skip
    if missing:
        raise ValueError(f'The checkpoint lacks {", ".join(missing)}: it is not a complete CEN-RefineNet.')
    found = {match.groups() for key in state_dict if (match := re.match(r'backbone\.layer(\d)\.(\d+)\.', key))}
    blocks = tuple(sum(stage == str(i) for stage, _ in found) for i in range(1, 5))
    if blocks not in BLOCKS:
        raise ValueError(f'A backbone with stages of {blocks} blocks is not a ResNet-50, 101 or 152.')
    classes, modalities = len(state_dict['decode_head.conv_seg.weight']), len(state_dict['ensemble.alpha'])
    return f'CEN-RefineNet with ResNet-{BLOCKS[blocks]}, {classes} classes, {modalities} modalities.'
