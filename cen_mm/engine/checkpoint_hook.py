"""Checkpoints that are whole at any moment, and strict loading of them."""

import logging
import os
from functools import partial
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np
from mmengine.dist import broadcast_object_list, is_main_process, master_only
from mmengine.fileio import LocalBackend, get_file_backend, register_backend
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook
from mmengine.logging import print_log
from mmengine.runner import BaseLoop, Runner
from mmengine.utils import apply_to
from torch import Tensor

from ..checkpoint import find_nonfinite, have_equal_modalities, move_modalities, read_checkpoint
from ..registry import HOOKS
from .optim import all_param_groups, unwrapped
from .train_loop import VALIDATED

TRAINING_STATE = {'meta', 'state_dict', 'message_hub', 'optimizer'}  # what resuming needs


@register_backend('cen_mm.atomic')
class AtomicBackend(LocalBackend):
    """mmengine's backend for local files, except that a file is replaced in one moment, when it is on the disk."""

    def put(self, obj: bytes, filepath: Union[str, Path]) -> None:
        """Writes a file under a temporary name and renames it.

        Raises:
            OSError: if it cannot be written. An older file of that name is unchanged.
        """
        path = Path(filepath)
        temporary = path.with_name(f'{path.name}.tmp')
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary, 'wb') as file:
                file.write(obj)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise OSError(
                error.errno,
                f'{path} was not written ({error.strerror}). Earlier checkpoints are intact: free space, or set '
                'default_hooks.checkpoint.out_dir to a folder on another disk, and resume',
            ) from error


def latest_checkpoint(work_dir: str, out_dir: Optional[str] = None) -> str:
    """Returns the latest checkpoint of a run that can be resumed from; warns of broken ones.

    Args:
        work_dir: work directory of the run.
        out_dir: that of the hook, which has a subfolder with the name of the work directory.

    Raises:
        FileNotFoundError: if there is none.
    """
    folder = Path(work_dir)
    folders = [folder, *([Path(out_dir, folder.name)] if out_dir else [])]
    paths = [path for each in folders for path in each.glob('*.pth')]
    paths = [path for path in paths if not path.name.startswith('best_')]  # which have no optimizer
    paths.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    pointer = folder / 'last_checkpoint'
    text = pointer.read_text().strip() if pointer.is_file() else ''
    if '://' in text:  # a remote file
        return text
    named = Path(text) if text else folder
    for path in dict.fromkeys([named, *paths] if named.is_file() else paths):
        try:
            checkpoint = read_checkpoint(path)
        except (OSError, ValueError) as error:
            print_log(f'Not resumed from it: {error}', logger='current', level=logging.WARNING)
            continue
        if checkpoint.keys() >= TRAINING_STATE:
            if not (broken := find_nonfinite(checkpoint['state_dict'])):
                return str(path)
            print_log(f'Not resumed from {path}: {broken} are NaN or infinite.', 'current', logging.WARNING)
    raise FileNotFoundError(
        f'{work_dir} contains no checkpoint to resume from: start without --resume, or give another --work-dir.'
    )


@HOOKS.register_module()
class CheckpointHook(MMEngineCheckpointHook):
    """mmengine's hook, with files that are whole at any moment and strict loading.

    A checkpoint is written under a temporary name and renamed, and outdated ones are deleted after that. Weights that
    are not finite are not saved, so they replace no good ones. Tests and resumed runs load strictly, and a run is
    resumed from the latest whole checkpoint. The history of the log is not saved, because torch < 2.6 cannot load it
    without running code.

    Args:
        out_dir: as in mmengine's hook.
        backend_args: the same. None: files on this machine.
        **kwargs: other arguments of mmengine's hook.

    Raises:
        FileNotFoundError: if there is nothing to resume from.
        ValueError: if loaded weights do not fit, are not finite, are of other modalities, or lack the state for
            resuming.
        FloatingPointError: if the weights to save are not finite.
        OSError: if a checkpoint cannot be written.
    """

    def __init__(self, out_dir: Optional[str] = None, backend_args: Optional[dict] = None, **kwargs: Any):
        if backend_args is None and '://' not in str(out_dir):
            backend_args = dict(backend='cen_mm.atomic')
        super().__init__(out_dir=out_dir, backend_args=backend_args, **kwargs)
        self._outdated: list[str] = []
        self._saved: Optional[str] = None  # the last file that was written or resumed from

    def before_run(self, runner: Runner) -> None:
        """Chooses the checkpoint to resume from, and makes loading strict except for starting weights."""
        trains = isinstance(runner._train_loop, BaseLoop)
        if trains and runner._resume and runner._load_from is None:
            path: list[Optional[str]] = [None]
            if is_main_process():
                path[0] = latest_checkpoint(runner.work_dir, self.out_dir)
            broadcast_object_list(path)
            runner._load_from = path[0]
        if not trains or runner._resume:
            runner.load_checkpoint = partial(runner.load_checkpoint, strict=True)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compares a checkpoint with the run, and moves step counts to the CPU.

        A checkpoint without the state of a training run is refused for resuming. Starting weights of other modalities
        move to the layers of the modalities of their names; otherwise, the names must be equal.

        mmengine loads the optimizer's state onto the GPU, where AdamW would read each of its step counts twice per
        step and wait for it. torch moves the other states, and the step counts of fused optimizers, to the parameters.
        """
        missing = TRAINING_STATE - checkpoint.keys()
        if runner._resume and missing:
            raise ValueError(
                f'{runner._load_from} contains no {", ".join(sorted(missing))}, so it cannot be resumed from: use '
                'load_from to start a new run with its weights.'
            )
        model = unwrapped(runner.model)
        self._compare_classes(runner, checkpoint, model)
        is_start = not runner._resume and isinstance(runner._train_loop, BaseLoop)
        if not have_equal_modalities(checkpoint, model, strict=not is_start):
            names = checkpoint['meta']['modalities']
            checkpoint['state_dict'] = move_modalities(checkpoint['state_dict'], names, model.modalities)
        if is_start:  # statistics for missing modalities, which only training with modality_dropout updates
            kept = model.state_dict()
            checkpoint['state_dict'] = {
                key: value for key, value in checkpoint['state_dict'].items() if key in kept or '.partial_' not in key
            }
        if runner._resume:
            self._compare_schedules(runner, checkpoint)
            checkpoint['optimizer'] = apply_to(
                checkpoint['optimizer'], lambda value: isinstance(value, Tensor) and value.dim() == 0, Tensor.cpu
            )

    @staticmethod
    def _compare_classes(runner: Runner, checkpoint: dict, model: Any) -> None:
        """Refuses a test of another number of classes; warns if it or a resumed run has others than the checkpoint."""
        trains = isinstance(runner._train_loop, BaseLoop)
        loop = runner._train_loop if trains else runner._test_loop
        if not isinstance(loop, BaseLoop) or (trains and not runner._resume):
            return
        ours = getattr(loop.dataloader.dataset, 'metainfo', {}).get('classes') or ()
        number = getattr(getattr(model, 'decode_head', None), 'num_classes', len(ours))
        if ours and number != len(ours):
            raise ValueError(
                f'model.decode_head.num_classes is {number}, but the data set has {len(ours)} classes '
                '(metainfo.classes): use the same number.'
            )
        theirs = checkpoint.get('meta', {}).get('dataset_meta', {}).get('classes') or ()
        for i, (old, new) in enumerate(zip(theirs, ours)):
            if old != new:
                runner.logger.warning(
                    f'Class {i} is {old} in {runner._load_from}, but {new} in the data set: give metainfo.classes the '
                    'order of the training, unless it was only renamed.'
                )
                return

    @staticmethod
    def _compare_schedules(runner: Runner, checkpoint: dict) -> None:
        """Warns if the config has other learning rates or another schedule than the checkpoint, which counts."""
        optimizer: dict = checkpoint['optimizer']
        states = [optimizer] if 'param_groups' in optimizer else list(optimizer.values())
        groups = [group for state in states for group in state.get('param_groups', ())]
        theirs = [group.get('initial_lr', group.get('lr')) for group in groups]  # without schedule, lr
        theirs += [state.get('end') for state in _flatten(checkpoint.get('param_schedulers'))]
        ours = [group.get('initial_lr', group['lr']) for group in all_param_groups(runner.optim_wrapper)]
        ours += [scheduler.end for scheduler in _flatten(runner.param_schedulers)]
        if ours != theirs:
            runner.logger.warning(
                f'The run continues with the learning rates and the schedule in {runner._load_from}, and the config '
                'has others: use load_from to start a new run with those of the config.'
            )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Refuses weights that are not finite, and removes what ``weights_only=True`` would not load."""
        if broken := find_nonfinite(checkpoint['state_dict']):
            again = f'resume from {self._saved}, the last good checkpoint,' if self._saved else 'start again'
            raise FloatingPointError(
                f'After iteration {checkpoint["meta"]["iter"]}, {broken} of the model are NaN or infinite and are not '
                f'saved: {again} with optim_wrapper.clip_grad, or start a new run with a lower learning rate.'
            )
        checkpoint['meta']['modalities'] = list(getattr(unwrapped(runner.model), 'modalities', ()))
        hub = checkpoint['message_hub']
        infos = apply_to(hub['runtime_info'], lambda value: isinstance(value, np.generic), lambda value: value.item())
        resumed = {key: value for key, value in hub['resumed_keys'].items() if key in infos}
        checkpoint['message_hub'] = dict(log_scalars={}, runtime_info=infos, resumed_keys=resumed)

    def before_train(self, runner: Runner) -> None:
        """Defers the deletion of outdated checkpoints, which mmengine deletes before it writes the new one."""
        super().before_train(runner)
        if is_main_process():
            for path in Path(self.out_dir).glob('*.pth.tmp'):  # of a run that was killed while it wrote
                path.unlink()
        self._saved = runner._load_from if runner._resume else None
        self.file_backend.remove = self.file_backend.rmtree = self._outdated.append

    def save(self, runner: Runner, filename: str, meta: dict) -> None:
        """Saves a checkpoint from which the run can be resumed.

        Args:
            runner: the runner.
            filename: name of the file in the hook's folder.
            meta: ``epoch`` and ``iter``, the numbers of finished epochs and iterations.
        """
        self.last_ckpt = self.file_backend.join_path(self.out_dir, filename)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            filename,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            backend_args=self.backend_args,
            **self.args,
        )
        self._saved = self.last_ckpt
        if is_main_process():
            AtomicBackend().put(self.last_ckpt.encode(), Path(runner.work_dir, 'last_checkpoint'))

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        if self.max_keep_ckpts > 0 and step not in self.keep_ckpt_ids:
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                outdated = self.filename_tmpl.format(self.keep_ckpt_ids.popleft())
                self._outdated.append(self.file_backend.join_path(self.out_dir, outdated))
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        self.save(runner, self.filename_tmpl.format(step), meta)
        self._delete_outdated(runner)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        # mmengine saves the last checkpoint again, in which the schedule has seen the scores of this validation.
        runner.message_hub.update_info(VALIDATED, runner.epoch)
        super()._save_best_checkpoint(runner, metrics)
        self._delete_outdated(runner)

    @master_only
    def _delete_outdated(self, runner: Runner) -> None:
        backend = get_file_backend(self.out_dir, backend_args=self.backend_args)
        best = {path for key, path in runner.message_hub.runtime_info.items() if key.startswith('best_ckpt')}
        for path in set(self._outdated) - best:
            if backend.exists(path):
                (backend.rmtree if backend.isdir(path) else backend.remove)(path)  # DeepSpeed saves folders
        self._outdated.clear()


def _flatten(schedulers: Any) -> list:
    """Lists schedulers, or their states: they are a list, or a dict of lists, one per network."""
    parts = schedulers.values() if isinstance(schedulers, dict) else [schedulers or []]
    return [scheduler for part in parts for scheduler in part]
