"""Loading checkpoints of older versions of this package."""

import re

from torch import Tensor, nn


def rename_on_load(module: nn.Module, renames: dict[str, str]) -> None:
    """Makes a module accept checkpoints whose keys have older names.

    Args:
        module: the module whose parameters were renamed.
        renames: pairs of a regular expression and its replacement. Each is applied (``re.sub``) to the part of the
            key below the module; a key that does not match stays as it is.
    """

    def rename(state_dict: dict[str, Tensor], prefix: str, *_) -> None:
        for key in [key for key in state_dict if key.startswith(prefix)]:
            new = key[len(prefix) :]
            for pattern, replacement in renames.items():
                new = re.sub(pattern, replacement, new)
            state_dict[prefix + new] = state_dict.pop(key)

    module._register_load_state_dict_pre_hook(rename)
