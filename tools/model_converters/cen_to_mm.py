"""Converts the authors' RGB-D checkpoints (ResNet-50, 101, 152 with RefineNet) to cen_mm's, and back.

python tools/model_converters/cen_to_mm.py model-best.pth.tar cen_r101.pth
python tools/model_converters/cen_to_mm.py cen_r101.pth model-best.pth.tar --reverse
"""

import argparse
import re
from pathlib import Path

import torch

import cen_mm  # noqa: F401  lets torch.load read mmengine's checkpoints, without unpickling code

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


def convert(state_dict: dict[str, torch.Tensor], reverse: bool = False) -> dict[str, torch.Tensor]:
    """Renames every key, and nothing else.

    Raises:
        ValueError: naming the keys that are unknown.
    """
    rename = to_theirs if reverse else to_ours
    unknown = [key for key in state_dict if not rename(key)]
    if unknown:
        side = 'cen_mm' if reverse else "the authors' segmentation code"
        raise ValueError(
            f'{len(unknown)} keys are not of {side}: {", ".join(unknown[:8])}{", ..." if len(unknown) > 8 else ""}. '
            f'Give a checkpoint of CEN-RefineNet{", or drop --reverse" if reverse else ""}.'
        )
    return {rename(key): value for key, value in state_dict.items()}


def describe(state_dict: dict[str, torch.Tensor]) -> tuple[int, int, int]:
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
    return BLOCKS[blocks], len(state_dict['decode_head.conv_seg.weight']), len(state_dict['ensemble.alpha'])


def read(path: str) -> dict[str, torch.Tensor]:
    """The state dict in a checkpoint of either side, without a leading `module.`; code is never unpickled."""
    checkpoint = torch.load(path, map_location='cpu', weights_only=True)
    for key in ('segmenter', 'state_dict'):
        checkpoint = checkpoint.get(key, checkpoint)
    return {key[7:] if key.startswith('module.') else key: value for key, value in checkpoint.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('src', help='checkpoint to read')
    parser.add_argument('dst', help='checkpoint to write')
    parser.add_argument('--reverse', action='store_true', help="from cen_mm's to the authors' format")
    args = parser.parse_args()
    if not Path(args.src).is_file():
        raise SystemExit(f'The checkpoint {args.src} does not exist: give the path of a file.')
    state_dict = read(args.src)
    try:
        converted = convert(state_dict, args.reverse)
        depth, classes, modalities = describe(state_dict if args.reverse else converted)
    except ValueError as error:
        raise SystemExit(f'{args.src}: {error}') from error
    torch.save({'segmenter' if args.reverse else 'state_dict': converted}, args.dst)
    print(f'{args.dst}: CEN-RefineNet with ResNet-{depth}, {classes} classes, {modalities} modalities.')


if __name__ == '__main__':
    main()
