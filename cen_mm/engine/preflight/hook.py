"""The hook that checks a run before its first step, and prints the table."""

import time
from typing import Optional

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner, ValLoop
from torch.nn.parallel import DistributedDataParallel

from ...registry import HOOKS
from ..optim import unwrapped
from ..samples import base_datasets
from . import built, data, table, trial
from .config import check_config
from .explain import describe


@HOOKS.register_module()
class PreflightHook(Hook):
    """Refuses a config with mistakes in one sentence, warns of what is doubtful, and prints what will be trained.

    It reads up to 16 training samples, and tries a training step without update and the evaluation of two samples.
    The states of all random generators are restored, so a run with this hook has the results of a run without it.
    Only the main process checks; all processes raise its error.

    Args:
        enabled: whether to check, here and in :func:`check_config`.
        check_only: whether to end the process with status 0 instead of training.

    Raises:
        ValueError: in every process, for the first mistake.
        SystemExit: after the check, with ``check_only``.
    """

    priority = 'VERY_HIGH'

    def __init__(self, enabled: bool = True, check_only: bool = False):
        self.check_only = check_only
        self.done = not enabled

    def before_train(self, runner: Runner) -> None:
        """Checks the config and the built run in the main process."""
        message: list[Optional[str]] = [None]
        cause = None
        if is_main_process() and not self.done:
            try:
                self._check(runner)
            except Exception as error:
                message[0], cause = describe(error), error
        broadcast_object_list(message)
        if message[0] is not None:
            raise ValueError(message[0]) from cause
        self.done = True
        if self.check_only:
            raise SystemExit(0)

    def _check(self, runner: Runner) -> None:
        start = time.time()
        check_config(runner.cfg)  # tools/train.py has done it before it built anything
        wrapped = is_model_wrapper(runner.model)
        model = unwrapped(runner.model)
        sharded = wrapped and not isinstance(runner.model, DistributedDataParallel)  # no process has all parameters
        loader, key = runner.train_dataloader, 'train_dataloader.dataset'
        dataset = next(base_datasets(loader.dataset))
        with trial.unchanged_state(model):
            built.check_classes(model, dataset)
            built.check_target(dataset)
            warnings = built.check_ignore_index(dataset) + built.check_learning_rates(runner.optim_wrapper)
            warnings += built.check_custom_keys(runner.cfg.optim_wrapper, model)
            warnings += built.check_schedule(runner.cfg, runner.train_loop)
            warnings += built.check_sizes(runner.cfg) + built.check_variables(runner.cfg)
            warnings += built.check_penalty(model)
            samples = data.read_samples(dataset, key)
            counts = data.count_labels(samples)
            data.check_labels(counts, key)
            if isinstance(runner.val_loop, ValLoop):
                val = next(base_datasets(runner.val_dataloader.dataset))
                warnings += built.check_same_data(dataset, val)
                val_samples = data.read_samples(val, 'val_dataloader.dataset', 2)
            if not sharded:
                trial.try_training(runner, model, [packed for packed, _ in samples[: min(2, loader.batch_size)]])
                if isinstance(runner.val_loop, ValLoop):
                    trial.try_validation(runner, model, [packed for packed, _ in val_samples])
            images = data.normalize(samples, dataset, model.data_preprocessor, loader.collate_fn)
            warnings += data.check_images(images, model.data_preprocessor)
        lines = [
            table.draw_images(images),
            table.draw_groups(runner.optim_wrapper),
            *table.describe_run(runner, samples[0][0]),
        ]
        names = dataset.metainfo.get('modalities') or getattr(dataset, 'modalities', ())
        if unused := [name for name in names if name not in images]:
            lines.append(
                f'the model does not use {", ".join(unused)} of the data set: it is not in '
                'model.data_preprocessor.modalities'
            )
        if counts.any():
            lines.append(table.describe_classes(counts, dataset.metainfo['classes']))
        if not sharded:
            lines.append(table.describe_exchange(model))
        text = '\n'.join(lines)
        seconds = time.time() - start
        runner.logger.info(f'Checked before training in {seconds:.1f} s:\n{text}', extra=dict(console=True))
        for warning in warnings:
            runner.logger.warning(warning)
