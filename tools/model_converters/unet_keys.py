"""Parameter names of the CEN U-Net: the authors' names, in one file per network, and ours, in one file."""

import re

import torch

# Pairs of the authors' name and our name. The authors count levels from 1, we count from 0.
NAMES = {
    'generator': [
        ('alpha', 'generators.target.ensemble.alpha'),
        ('conv{level}.conv.module.{rest}', 'generators.target.encoder.{level}.conv.{rest}'),
        ('conv{level}.insnorm_conv.insnorm_{m}.{rest}', 'generators.target.encoder.{level}.norm.norms.{m}.{rest}'),
        ('deconv{level}.deconv.module.{rest}', 'generators.target.decoder.{level}.conv.{rest}'),
        ('deconv{level}.insnorm_deconv.insnorm_{m}.{rest}', 'generators.target.decoder.{level}.norm.norms.{m}.{rest}'),
    ],
    'discriminator': [
        ('conv{level}.conv.module.{rest}', 'discriminators.target.layers.{level}.conv.{rest}'),
        ('conv{level}.insnorm.module.{rest}', 'discriminators.target.layers.{level}.norm.{rest}'),
    ],
}
FIELDS = dict(level=r'(?P<level>\d+)', m=r'(?P<m>\d+)', rest=r'(?P<rest>\w+)')
ENCODER, DISCRIMINATOR = 'generators.target.encoder', 'discriminators.target.layers'


def _rename(key: str, names: list[tuple[str, str]], shift: int) -> str:
    """Renames a key by the first pair whose first name matches. ``shift`` is added to the level in the name."""
    for name, new_name in names:
        match = re.fullmatch(name.replace('.', r'\.').format(**FIELDS), key)
        if match:
            found = {'level': -1, **match.groupdict()}
            return new_name.format(**{**found, 'level': int(found['level']) + shift})
    return ''


def to_ours(key: str, network: str) -> str:
    """Converts a key of the authors to ours. Returns an empty string for an unknown key.

    Args:
        key: the authors' key.
        network: 'generator' or 'discriminator'.
    """
    return _rename(key, NAMES[network], shift=-1)


def to_theirs(key: str, network: str) -> str:
    """Converts one of our keys to the authors' key. Returns an empty string for an unknown key.

    Args:
        key: our key.
        network: 'generator' or 'discriminator'.
    """
    return _rename(key, [(ours, theirs) for theirs, ours in NAMES[network]], shift=1)


def describe(state_dict: dict[str, torch.Tensor]) -> str:
    """Describes one of our state dicts: the sizes of the networks, and the config settings that it needs.

    Raises:
        ValueError: if a part of the generator is missing.
    """
    weights = {key: len(value) for key, value in state_dict.items() if re.search(r'\.conv\.weight$|alpha$', key)}
    levels = sum(key.startswith(ENCODER) for key in weights)
    missing = [key for theirs in ('alpha', 'conv1.conv.module.weight', f'deconv{max(levels, 1)}.deconv.module.weight')
               if (key := to_ours(theirs, 'generator')) not in weights]  # fmt: skip
    if missing:
        raise ValueError(f'The checkpoint lacks {", ".join(missing)}: it is not a complete generator.')
    modalities = weights['generators.target.ensemble.alpha']
    base, disc_base = weights[f'{ENCODER}.0.conv.weight'], weights.get(f'{DISCRIMINATOR}.0.conv.weight')
    suffix = f'with discriminator of base width {disc_base}' if disc_base else 'without discriminator'
    settings = {
        'model.generator.num_levels': levels != 8 and levels,
        'model.generator.base_channels': base != 64 and base,
        'model.discriminator.base_channels': disc_base not in (64, None) and disc_base,
        'model.modalities': modalities != 2 and f'{modalities} names',
    }
    differing = ', '.join(f'{key} to {value}' for key, value in settings.items() if value)
    return f'CEN U-Net of {levels} levels, base width {base}, {modalities} modalities, {suffix}.' + (
        f' In the config, set {differing}.' if differing else ''
    )
