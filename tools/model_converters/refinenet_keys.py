"""Names of CEN-RefineNet's parameters: the authors' and ours."""

import re

import torch

BLOCKS = {(3, 4, 6, 3): 50, (3, 4, 23, 3): 101, (3, 8, 36, 3): 152}
BACKBONE = re.compile(r'(conv1|bn1|layer[1-4]\.\d+\.(conv[123]|bn[123]|downsample\.[01]))\.')


def decoder_names() -> dict[str, str]:
    """Layers of decoder and classifier: the authors' name to ours."""
    names = {'clf_conv': 'decode_head.conv_seg'}
    for theirs in range(1, 5):
        ours = f'neck.levels.{theirs - 1}'
        names[f'p_ims1d2_outl{theirs}_dimred'] = f'{ours}.reduce'
        if theirs > 1:
            names[f'adapt_stage{theirs}_b2_joint_varout_dimred'] = f'{ours}.join'
        for link in range(4):
            names[f'mflow_conv_g{theirs}_pool.0.{link + 1}_outvar_dimred'] = f'{ours}.pool.convs.{link}'
        for stage, units, num_units in ((f'adapt_stage{theirs}', 'adapt', 2), (f'mflow_conv_g{theirs}', 'output', 3)):
            for unit in range(num_units):
                names[f'{stage}_b.0.{unit + 1}_conv'] = f'{ours}.{units}.units.{unit}.0'
                names[f'{stage}_b.0.{unit + 1}_conv_relu_varout_dimred'] = f'{ours}.{units}.units.{unit}.2'
        if theirs < 4:
            names[f'mflow_conv_g{theirs}_b3_joint_varout_dimred'] = f'{ours}.pass_on'
    return names


DECODER = decoder_names()
DECODER_BACK = {ours: theirs for theirs, ours in DECODER.items()}


def to_ours(key: str) -> str:
    """Our name of the authors' key; empty if it is none of theirs."""
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
    """The authors' name of our key; empty if it is none of ours."""
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
    """Depth, classes and modalities of a state dict of ours, read from its keys and shapes.

    Raises:
        ValueError: if a part is missing or the depth is none of ResNet-50, 101 and 152.
    """
    missing = [key for key in ('ensemble.alpha', 'decode_head.conv_seg.weight', 'backbone.conv1.weight') if
               key not in state_dict]  # fmt: skip
    if missing:
        raise ValueError(f'The checkpoint lacks {", ".join(missing)}: it is no whole CEN-RefineNet.')
    found = {match.groups() for key in state_dict if (match := re.match(r'backbone\.layer(\d)\.(\d+)\.', key))}
    blocks = tuple(sum(stage == str(i) for stage, _ in found) for i in range(1, 5))
    if blocks not in BLOCKS:
        raise ValueError(f'Stages of {blocks} blocks are no ResNet of {sorted(BLOCKS.values())}.')
    classes, modalities = len(state_dict['decode_head.conv_seg.weight']), len(state_dict['ensemble.alpha'])
    return f'CEN-RefineNet with ResNet-{BLOCKS[blocks]}, {classes} classes, {modalities} modalities.'
