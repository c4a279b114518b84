"""Logs and plots how many channels are replaced, by layer and modality."""

import logging
from pathlib import Path
from typing import Any, Optional

import numpy as np
import torch
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner

from ..exchange import ExchangeNorm, exchanging_norms
from ..registry import HOOKS
from .optim import unwrapped

HISTORY = 'exchange_history'


@HOOKS.register_module()
class ExchangeHook(Hook):
    """Logs, for each exchanging layer and modality, the share of channels below the threshold.

    The shares are written to the log and to every backend of the visualizer (``exchange/<layer>/<modality>``, and
    ``exchange/<modality>`` over all layers). At the end of training, a heat map of layers over iterations is written
    to ``exchange.png`` in the work directory. Checkpoints contain the history, so a resumed run shows all of it. The
    training log also has ``replaced``, the mean over all modalities.

    The hook warns once if no channel has been replaced by half of the run, and once if a channel is below the
    threshold in every modality, because it is then replaced by channels that are below the threshold too.

    Args:
        interval: number of iterations between two log entries. None: once per epoch.
    """

    priority = 'BELOW_NORMAL'  # after the optimizer step, before the checkpoint

    def __init__(self, interval: Optional[int] = None):
        self.interval = interval
        self._warned: set[str] = set()

    def before_train(self, runner: Runner) -> None:
        """Checks the model wrapper, and warns if most channels are below the threshold before the first step.

        Raises:
            ValueError: if several processes train on a part of the modalities without ``find_unused_parameters``.
        """
        if is_model_wrapper(runner.model) and not getattr(runner.model, 'find_unused_parameters', True):
            model = runner.model.module
            option = 'modality_dropout' if getattr(model, 'modality_dropout', 0) else 'available_modalities'
            available, modalities = (getattr(model, name, None) for name in ('available_modalities', 'modalities'))
            if option == 'modality_dropout' or available != modalities:
                raise ValueError(
                    f'model.{option} leaves the norms of a missing modality without gradients, for which several '
                    'processes would wait: set find_unused_parameters=True in the config (in model_wrapper_cfg, if '
                    'there is one).'
                )
        norms = self._norms(runner)
        if runner.iter == 0 and norms:
            replaced = torch.cat([norm.replaced.flatten() for norm in norms.values()]).float().mean()
            if replaced > 0.5:
                runner.logger.warning(
                    f'{replaced:.0%} of the channels in the exchanging layers are below the threshold before the '
                    'first training step. Choose other norms (model.backbone.exchange), a lower threshold, or '
                    'zero_init_residual=False, which initializes the scales of a residual block with 1.'
                )

    @staticmethod
    def _norms(runner: Runner) -> dict[str, ExchangeNorm]:
        """The exchanging norms of the model, without unused ones."""
        return dict(exchanging_norms(unwrapped(runner.model), with_unused=False))

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Optional[dict] = None
    ) -> None:
        if not self.every_n_train_iters(runner, self.interval or len(runner.train_dataloader)):
            return
        norms = self._norms(runner)
        if not norms:
            return
        step = runner.iter + 1
        with torch.no_grad():  # one copy to the host for all norms
            masks = torch.cat([norm.replaced for norm in norms.values()], dim=1).cpu()
        replaced = dict(zip(norms, masks.split([norm.scales.shape[1] for norm in norms.values()], dim=1)))  # (M, C)
        modalities = next(iter(norms.values())).modalities
        shares = np.array([mask.float().mean(1).tolist() for mask in replaced.values()])  # (layers, M)
        total = np.average(shares, axis=0, weights=[mask.shape[1] for mask in replaced.values()])  # (M,)

        history = runner.message_hub.runtime_info.get(HISTORY) or {}
        if history.get('layers') != list(replaced):  # a new run, or one that is resumed with other exchanging layers
            history = dict(layers=list(replaced), modalities=modalities)
        history.setdefault('steps', []).append(step)
        history.setdefault('shares', []).append(shares.tolist())
        runner.message_hub.update_info(HISTORY, history)
        runner.message_hub.update_scalar('train/replaced', float(total.mean()))

        scalars = {f'exchange/{name}': value for name, value in zip(modalities, total)}
        for layer, row in zip(replaced, shares):
            scalars.update({f'exchange/{layer}/{name}': value for name, value in zip(modalities, row)})
        runner.visualizer.add_scalars(scalars, step=step)
        for m, name in enumerate(modalities):
            layers = ', '.join(f'{layer} {100 * share:.1f}' for layer, share in zip(replaced, shares[:, m]))
            runner.logger.info(f'Channels below the threshold, {name}: {100 * total[m]:.1f} % ({layers})')
        self._warn(runner, norms, replaced, total)

    def _warn(self, runner: Runner, norms: dict, replaced: dict, total: np.ndarray) -> None:
        threshold = max(norm.threshold for norm in norms.values())
        exchanges = threshold > 0 and max(len(mask) for mask in replaced.values()) > 1
        if exchanges and 2 * (runner.iter + 1) >= runner.max_iters and not total.any():
            is_gan = isinstance(runner.optim_wrapper, OptimWrapperDict)
            rate = 'generators.paramwise_cfg.custom_keys' if is_gan else 'paramwise_cfg.exchanging_norms'
            self._once(
                runner,
                'no channel',
                f'No channel is replaced after {runner.iter + 1} of {runner.max_iters} iterations: every scale is '
                f'above the threshold of {threshold}. Increase sparsity.loss_weight, the learning rate of the '
                f'exchanging norms (optim_wrapper.{rate}), or the threshold.',
            )
        counts = {  # channels that are below the threshold in every modality, by layer
            name: int(mask.all(0).sum()) for name, mask in replaced.items() if len(mask) > 1 and mask.all(0).any()
        }
        if counts:
            self._once(
                runner,
                'every modality',
                'Channels that are below the threshold in every modality are replaced by each other: '
                f'{", ".join(f"{count} in {name}" for name, count in counts.items())}. '
                "Use sparsity.channels='parts'; if it is set, reduce sparsity.loss_weight or the threshold.",
            )

    def _once(self, runner: Runner, kind: str, message: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            runner.logger.log(logging.WARNING, message)

    @master_only
    def after_train(self, runner: Runner) -> None:
        history = runner.message_hub.runtime_info.get(HISTORY)
        if history:
            path = Path(runner.work_dir) / 'exchange.png'
            runner.visualizer.add_image('exchange', draw_heat_map(history, path), step=runner.iter)
            runner.logger.info(f'Plot of the channels below the threshold: {path}')


def draw_heat_map(history: dict, path: Path) -> np.ndarray:
    """Draws the share of channels below the threshold, layers over iterations, one panel per modality.

    Args:
        history: ``layers`` and ``modalities``, their names; ``steps``, the iterations ``(T,)``; ``shares``
            ``(T, layers, M)``, from 0 to 1.
        path: PNG file to write.

    Returns:
        The image, RGB ``(H, W, 3)`` uint8.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shares = 100 * np.array(history['shares'])
    layers, steps = history['layers'], history['steps']
    columns = len(history['modalities'])
    figure = Figure(figsize=(2.5 + 4 * columns, max(3, 1.5 + 0.22 * len(layers))), layout='constrained')
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(1, columns, squeeze=False, sharey=True)[0]
    for m, (name, axis) in enumerate(zip(history['modalities'], axes)):
        image = axis.imshow(
            shares[:, :, m].T, aspect='auto', interpolation='nearest', cmap='viridis', vmin=0, vmax=100
        )
        ticks = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), 6)).astype(int))
        axis.set_xticks(ticks, [steps[t] for t in ticks])
        axis.set_yticks(range(len(layers)), layers, fontsize=7)
        axis.set(title=name, xlabel='iteration')
    figure.colorbar(image, ax=list(axes), label='channels below the threshold, %')
    canvas.draw()
    figure.savefig(path, dpi=100)
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
