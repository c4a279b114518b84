"""Converts the authors' checkpoints to cen_mm's, and back.

RGB-D segmentation (ResNet-50, 101, 152 with RefineNet):
python tools/model_converters/cen_to_mm.py model-best.pth.tar cen_r101.pth
python tools/model_converters/cen_to_mm.py cen_r101.pth model-best.pth.tar --reverse

Translation, whose networks lie in two files; a test needs the generator alone:
python tools/model_converters/cen_to_mm.py --task translation checkpoint-gen.pkl cen_unet.pth
python tools/model_converters/cen_to_mm.py --task translation checkpoint-gen.pkl cen_unet.pth \
    --discriminator checkpoint-dis.pkl
python tools/model_converters/cen_to_mm.py --task translation cen_unet.pth checkpoint-gen.pkl --reverse
"""

import argparse
import pickle
from functools import partial
from pathlib import Path

import refinenet_keys
import torch
import unet_keys

import cen_mm  # noqa: F401  lets torch.load read mmengine's checkpoints, without unpickling code

# Each network's names to ours, and back.
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
    """Renames every key, and nothing else.

    Raises:
        ValueError: naming the keys that are unknown.
    """
    rename = RENAMES[network][reverse]
    unknown = [key for key in state_dict if not rename(key)]
    if unknown:
        side = 'cen_mm' if reverse else "the authors' code"
        raise ValueError(
            f'{len(unknown)} keys are not of {side}: {", ".join(unknown[:8])}{", ..." if len(unknown) > 8 else ""}. '
            f'Give a checkpoint of its {network}, or another --task{", or drop --reverse" if reverse else ""}.'
        )
    return {rename(key): value for key, value in state_dict.items()}


def read(path: str) -> dict[str, torch.Tensor]:
    """The state dict in a checkpoint of either side, without a leading `module.`; code is never unpickled."""
    if not Path(path).is_file():
        raise SystemExit(f'The checkpoint {path} does not exist: give the path of a file.')
    try:
        checkpoint = torch.load(path, map_location='cpu', weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError):
        checkpoint = None
    if not isinstance(checkpoint, dict):
        raise SystemExit(f'{path} is no file of weights: write it with torch.save(network.state_dict(), FILE).')
    for value in checkpoint.values():  # the state dict may lie under a key, beside the epoch and the optimiser
        if isinstance(value, dict) and value and all(isinstance(tensor, torch.Tensor) for tensor in value.values()):
            checkpoint = value
            break
    return {key[7:] if key.startswith('module.') else key: value for key, value in checkpoint.items()}


def segmentation(args: argparse.Namespace) -> str:
    """Converts one file, and says what it holds."""
    state_dict = read(args.src)
    converted = convert(state_dict, args.reverse)
    said = refinenet_keys.describe(state_dict if args.reverse else converted)
    torch.save({'segmenter' if args.reverse else 'state_dict': converted}, args.dst)
    return said


def translation(args: argparse.Namespace) -> str:
    """Converts the generator's file and, if named, the discriminator's, and says what they hold."""
    if not args.reverse:
        ours = convert(read(args.src), network='generator')
        if args.discriminator:
            try:
                ours.update(convert(read(args.discriminator), network='discriminator'))
            except ValueError as error:
                raise SystemExit(f'{args.discriminator}: {error}') from error
        said = unet_keys.describe(ours)
        torch.save({'state_dict': ours}, args.dst)
        return said
    ours = read(args.src)
    judge = {key: ours.pop(key) for key in list(ours) if key.startswith('discriminators.')}
    files = {args.dst: convert(ours, True, 'generator')}
    if args.discriminator:
        if not judge:
            raise ValueError('it holds no discriminator, so drop --discriminator.')
        files[args.discriminator] = convert(judge, True, 'discriminator')
        ours.update(judge)
    said = unet_keys.describe(ours)
    for path, theirs in files.items():
        torch.save(theirs, path)
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('src', help='checkpoint to read')
    parser.add_argument('dst', help='checkpoint to write')
    parser.add_argument('--task', choices=['segmentation', 'translation'], default='segmentation')
    parser.add_argument('--discriminator', help="the authors' file of translation's discriminator, beside SRC or DST")
    parser.add_argument('--reverse', action='store_true', help="from cen_mm's to the authors' format")
    args = parser.parse_args()
    if args.discriminator and args.task == 'segmentation':
        raise SystemExit('--discriminator belongs to translation: add --task translation, or drop it.')
    try:
        said = {'segmentation': segmentation, 'translation': translation}[args.task](args)
    except ValueError as error:
        raise SystemExit(f'{args.src}: {error}') from error
    print(f'{args.dst}: {said}')


if __name__ == '__main__':
    main()
