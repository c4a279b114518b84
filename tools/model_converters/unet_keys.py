"""Names of CEN U-Net's parameters: the authors', in a file for each network, and ours, in one."""

import re

import torch

# The authors' name and ours. The authors count levels from 1.
NAMES = {
    'generator': [
        ('alpha', 'generators.target.ensemble.alpha'),
        ('conv{level}.conv.module.{rest}', 'generators.target.encoder.{level}.conv.{rest}'),
        ('conv{level}.insnorm_conv.insnorm_{m}.{rest}', 'generators.target.encoder.{level}.norm.norms.{m}.{rest}'),
        ('deconv{level}.deconv.module.{rest}', 'generators.target.decoder.{level}.conv.{rest}'),
        ('deconv{level}.insnorm_deconv.insnorm_{m}.{rest}', 'generators.target.decoder.{level}.norm.norms.{m}.{rest}'),
    ],
    'discriminator': [
        ('conv{level}.conv.module.{rest}', 'discriminators.target.levels.{level}.conv.{rest}'),
        ('conv{level}.insnorm.module.{rest}', 'discriminators.target.levels.{level}.norm.{rest}'),
    ],
}
FIELDS = dict(level=r'(?P<level>\d+)', m=r'(?P<m>\d+)', rest=r'(?P<rest>\w+)')
ENCODER, DISCRIMINATOR = 'generators.target.encoder', 'discriminators.target.levels'


def _rename(key: str, names: list[tuple[str, str]], shift: int) -> str:
    for name, other in names:
        match = re.fullmatch(name.replace('.', r'\.').format(**FIELDS), key)
        if match:
            found = {'level': -1, **match.groupdict()}
            return other.format(**{**found, 'level': int(found['level']) + shift})
    return ''


def to_ours(key: str, network: str) -> str:
    """Our name of a key of the authors' 'generator' or 'discriminator'; empty if it is none of theirs."""
    return _rename(key, NAMES[network], shift=-1)


def to_theirs(key: str, network: str) -> str:
    """The name of our key in the authors' 'generator' or 'discriminator'; empty if it is none of ours."""
    return _rename(key, [(ours, theirs) for theirs, ours in NAMES[network]], shift=1)


def describe(state_dict: dict[str, torch.Tensor]) -> str:
    """What a state dict of ours is of, read from its keys and shapes, and what to set in a config for it.

    Raises:
        ValueError: if a part of the generator is missing.
    """
    weights = {key: len(value) for key, value in state_dict.items() if re.search(r'\.conv\.weight$|alpha$', key)}
    levels = sum(key.startswith(ENCODER) for key in weights)
    lacking = [key for theirs in ('alpha', 'conv1.conv.module.weight', f'deconv{max(levels, 1)}.deconv.module.weight')
               if (key := to_ours(theirs, 'generator')) not in weights]  # fmt: skip
    if lacking:
        raise ValueError(f'The checkpoint lacks {", ".join(lacking)}: it is no whole generator.')
    modalities = weights['generators.target.ensemble.alpha']
    base, judge = weights[f'{ENCODER}.0.conv.weight'], weights.get(f'{DISCRIMINATOR}.0.conv.weight')
    beside = f'with discriminator of base width {judge}' if judge else 'without discriminator'
    settings = {
        'model.generator.num_levels': levels != 8 and levels,
        'model.generator.base_channels': base != 64 and base,
        'model.discriminator.base_channels': judge not in (64, None) and judge,
        'model.modalities': modalities != 2 and f'{modalities} names',
    }
    differing = ', '.join(f'{key} to {value}' for key, value in settings.items() if value)
    return f'CEN U-Net of {levels} levels, base width {base}, {modalities} modalities, {beside}.' + (
        f' In the config, set {differing}.' if differing else ''
    )
