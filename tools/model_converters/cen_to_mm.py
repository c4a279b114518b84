"""Converts checkpoints of the authors' code to checkpoints of cen_mm, and back.

RGB-D segmentation (ResNet-50, 101, 152 with RefineNet):
python tools/model_converters/cen_to_mm.py model-best.pth.tar cen_r101.pth
python tools/model_converters/cen_to_mm.py cen_r101.pth model-best.pth.tar --reverse

Translation, whose two networks are in separate files (a test needs only the generator):
python tools/model_converters/cen_to_mm.py --task translation checkpoint-gen.pkl cen_unet.pth
python tools/model_converters/cen_to_mm.py --task translation checkpoint-gen.pkl cen_unet.pth \
    --discriminator checkpoint-dis.pkl
python tools/model_converters/cen_to_mm.py --task translation cen_unet.pth checkpoint-gen.pkl --reverse
"""

import argparse
import re
from functools import partial
from pathlib import Path

import refinenet_keys
import torch
import unet_keys

from cen_mm.checkpoint import read_checkpoint

# For each network, the functions that rename its parameters: to our names, and back.
RENAMES = {
    'segmentation network': (refinenet_keys.to_ours, refinenet_keys.to_theirs),
    **{
        network: tuple(partial(rename, network=network) for rename in (unet_keys.to_ours, unet_keys.to_theirs))
        for network in unet_keys.NAMES
    },
}


def convert(
    state_dict: dict[str, torch.Tensor], reverse: bool = False, network: str = 'segmentation network'
) -> dict[str, torch.Tensor]:
    """Renames all keys of a state dict.

    Args:
        state_dict: parameters and buffers of one network.
        reverse: whether to convert from cen_mm to the authors' code.
        network: 'segmentation network', 'generator' or 'discriminator'.

    Returns:
        The same tensors under the new names.

    Raises:
        ValueError: if there are unknown keys.
    """
    rename = RENAMES[network][reverse]
    unknown = [key for key in state_dict if not rename(key)]
    if unknown:
        source = 'cen_mm' if reverse else "the authors' code"
        raise ValueError(
            f'{len(unknown)} keys are unknown in {source}: {", ".join(unknown[:8])}'
            f'{", ..." if len(unknown) > 8 else ""}. Give a checkpoint of its {network}, or another --task'
            f'{", or remove --reverse" if reverse else ""}.'
        )
    return {rename(key): value for key, value in state_dict.items()}


def read(path: str) -> dict[str, torch.Tensor]:
    """Reads the state dict of a checkpoint in either format, without unpickling code.

    ``module.``, which wrappers for several processes add, is removed from the keys.
    """
    if not Path(path).is_file():
        raise SystemExit(f'The checkpoint {path} does not exist: give the path of a file.')
    try:
        checkpoint = read_checkpoint(path)
    except ValueError as error:
        raise SystemExit(str(error)) from error
    for value in checkpoint.values():  # the state dict may be one of several entries
        if isinstance(value, dict) and value and all(isinstance(tensor, torch.Tensor) for tensor in value.values()):
            checkpoint = value
            break
    return {re.sub(r'^((?:generators|discriminators)\.)?module\.', r'\1', key): checkpoint[key] for key in checkpoint}


def segmentation(args: argparse.Namespace) -> str:
    """Converts the checkpoint of a segmentation network, and returns a description of it."""
    state_dict = read(args.src)
    converted = convert(state_dict, args.reverse)
    description = refinenet_keys.describe(state_dict if args.reverse else converted)
    torch.save({'segmenter' if args.reverse else 'state_dict': converted}, args.dst)
    return description


def translation(args: argparse.Namespace) -> str:
    """Converts the generator and, if given, the discriminator, and returns a description of both."""
    if not args.reverse:
        ours = convert(read(args.src), network='generator')
        if args.discriminator:
            try:
                ours.update(convert(read(args.discriminator), network='discriminator'))
            except ValueError as error:
                raise SystemExit(f'{args.discriminator}: {error}') from error
        description = unet_keys.describe(ours)
        torch.save({'state_dict': ours}, args.dst)
        return description
    ours = read(args.src)
    discriminator = {key: ours.pop(key) for key in list(ours) if key.startswith('discriminators.')}
    files = {args.dst: convert(ours, True, 'generator')}
    if args.discriminator:
        if not discriminator:
            raise ValueError('The checkpoint contains no discriminator: remove --discriminator.')
        files[args.discriminator] = convert(discriminator, True, 'discriminator')
        ours.update(discriminator)
    description = unet_keys.describe(ours)
    for path, theirs in files.items():
        torch.save(theirs, path)
    return description


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('src', help='checkpoint to read')
    parser.add_argument('dst', help='checkpoint to write')
    parser.add_argument('--task', choices=['segmentation', 'translation'], default='segmentation')
    parser.add_argument('--discriminator', help="the authors' file of the discriminator (translation only)")
    parser.add_argument('--reverse', action='store_true', help="convert from cen_mm's to the authors' format")
    args = parser.parse_args()
    if args.discriminator and args.task == 'segmentation':
        raise SystemExit('--discriminator is only for translation: add --task translation, or remove --discriminator.')
    for path in filter(None, (args.dst, args.reverse and args.discriminator)):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    try:
        description = {'segmentation': segmentation, 'translation': translation}[args.task](args)
    except ValueError as error:
        raise SystemExit(f'{args.src}: {error}') from error
    print(f'{args.dst}: {description}')


if __name__ == '__main__':
    main()
