"""The MMagic model for image-to-image translation: GAN training step and evaluation."""

import math
from bisect import bisect_left
from typing import NamedTuple, Optional, Sequence, Union

import torch
from mmagic.models.base_models import BaseTranslationModel
from mmagic.models.losses.pixelwise_loss import l1_loss
from mmagic.models.utils import set_requires_grad
from mmagic.structures import DataSample
from mmengine.dist import all_reduce_params
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from ..checkpoint import rename_on_load
from ..exchange import (
    ENSEMBLE,
    SparsityPenalty,
    check_available_modalities,
    stack_modalities,
    use_available_modalities,
)
from ..registry import MODELS
from .generator import BatchStatsInstanceNorm2d
from .losses import adversarial_loss, discriminator_loss

# MMagic stores its networks by domain. This name is part of the checkpoint keys, which do not depend on the target.
DOMAIN = 'target'
TEST_MODES = ('deterministic', 'authors')


def _batch(images: Union[Tensor, Sequence[Tensor]]) -> Tensor:
    """Stacks a list of tensors; a tensor is returned as it is."""
    return images if isinstance(images, Tensor) else torch.stack(list(images))


def _in_order(inputs: Tensor, data_samples: Sequence[BaseDataElement], modalities: tuple[str, ...]) -> Tensor:
    """Orders the images in ``inputs``, ``(B, 3M, H, W)``, as ``modalities``: mmengine sorts the keys of configs.

    Raises:
        ValueError: if the modalities in the data samples are others.
    """
    packed = tuple(data_samples[0].get('modalities', modalities))
    if sorted(packed) != sorted(modalities):
        raise ValueError(
            f'The inputs of the data set are {list(packed)}, but the model expects {list(modalities)}: '
            'list the same modalities in both.'
        )
    parts = dict(zip(packed, inputs.chunk(len(packed), dim=1)))
    return inputs if packed == modalities else torch.cat([parts[name] for name in modalities], dim=1)


def _discriminator_may_be_missing(model: 'CENTranslation', keys: NamedTuple) -> None:
    """Lets strict loading accept checkpoints and models without discriminator, because only training needs it."""
    names = (name.replace('discriminators.module.', 'discriminators.') for name, _ in model.named_parameters())
    discriminator_keys = {name for name in names if name.startswith('discriminators.')}
    if discriminator_keys <= set(keys.missing_keys):
        for names in keys:
            names[:] = [name for name in names if not name.startswith('discriminators.')]


@MODELS.register_module()
class CENTranslation(BaseTranslationModel):
    """Channel exchanging network for image-to-image translation.

    The loss of the discriminator is half the sum of the losses on real and generated images, summed over the
    modalities. The loss of the generator is the sum of the adversarial loss of each branch, 100 times the L1 loss of
    each branch and of the ensemble on the pixels with a known target, and the sparsity penalty.

    Args:
        generator: config of a ``CENUNetGenerator``, without ``modalities``.
        discriminator: config of a ``SharedPatchDiscriminator``. None: the model can be tested, but not trained.
        modalities: names of the input modalities, in the order of the channels.
        sparsity: arguments of :class:`~cen_mm.exchange.SparsityPenalty`. None: no penalty.
        test_mode: ``'deterministic'``: dropout is off in eval mode. ``'authors'``: dropout is on in eval mode. In
            both, the norms use the statistics of each image and do not update the running statistics.
        available_modalities: names of the available modalities in tests, in the order of the channels. None: all
            modalities.
        data_preprocessor: config of the data preprocessor. None: mmengine's, which moves the data to the device.
        **kwargs: arguments of MMagic's ``BaseTranslationModel``: ``disc_init_steps``, number of iterations before the
            generator is trained; ``discriminator_steps``, number of updates of the discriminator per update of the
            generator (with gradient accumulation, the generator is trained in all iterations of an update);
            ``loss_config`` with ``pixel_loss_weight`` (default 100).

    Raises:
        ValueError: for an unknown test mode, available modalities that the model does not have, an unknown key in
            ``loss_config``, or a weight that is negative, NaN or infinite.
    """

    def __init__(
        self,
        generator: dict,
        discriminator: Optional[dict],
        modalities: Sequence[str],
        sparsity: Optional[dict] = None,
        test_mode: str = 'deterministic',
        available_modalities: Optional[Sequence[str]] = None,
        data_preprocessor: Optional[dict] = None,
        **kwargs,
    ):
        if test_mode not in TEST_MODES:
            raise ValueError(f'test_mode={test_mode!r} is unknown: choose one of {", ".join(TEST_MODES)}.')
        if available_modalities is not None:
            check_available_modalities(available_modalities, modalities)
        super().__init__(
            {**generator, 'modalities': modalities},
            discriminator,
            default_domain=DOMAIN,
            reachable_domains=[DOMAIN],
            related_domains=[DOMAIN, *modalities],
            # copies from pinned memory run beside the computation
            data_preprocessor=data_preprocessor or dict(type='BaseDataPreprocessor', non_blocking=True),
            **kwargs,
        )
        self.sparsity = SparsityPenalty(**sparsity) if sparsity else None
        if set(self.loss_config) - {'pixel_loss_weight'}:
            raise ValueError(
                f'loss_config has the keys {sorted(self.loss_config)}, but its only key is pixel_loss_weight.'
            )
        self.pixel_loss_weight = self.loss_config.get('pixel_loss_weight', 100.0)
        if not 0 <= self.pixel_loss_weight < math.inf:
            raise ValueError(
                f'loss_config.pixel_loss_weight={self.pixel_loss_weight}: give a finite number, 0 or more.'
            )
        self.test_mode = test_mode
        self.available_modalities = tuple(available_modalities or modalities)
        for module in self.generators.modules():
            if isinstance(module, BatchStatsInstanceNorm2d):
                module.batch_stats_in_eval = True
        self.register_load_state_dict_post_hook(_discriminator_may_be_missing)
        # The keys of several processes, in which MMagic wraps each network.
        rename_on_load(self, {r'^(generators|discriminators)\.module\.': r'\1.'})

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities, in the order in which they are stacked."""
        return self._get_target_generator(DOMAIN).modalities

    def train(self, mode: bool = True) -> 'CENTranslation':
        """Sets training or eval mode. With ``test_mode='authors'``, dropout is on in both."""
        super().train(mode)
        for module in self.generators.modules():
            if isinstance(module, nn.Dropout):
                module.train(mode or self.test_mode == 'authors')
        return self

    def branches(self, inputs: Tensor, available_modalities: Optional[Sequence[str]] = None) -> dict[str, Tensor]:
        """Generates the images of every branch and of the ensemble.

        Args:
            inputs: input images in [-1, 1], ``(B, 3M, H, W)``; ``(B, 3P, H, W)`` if only P modalities are available.
            available_modalities: names of the modalities in ``inputs``, in the order of the channels. None: the
                ``available_modalities`` of the model.

        Returns:
            ``{'reshading': .., 'edge_texture': .., 'ensemble': ..}``, each ``(B, 3, H, W)`` in [-1, 1], with one
            branch per available modality.

        Raises:
            ValueError: for unknown names or a wrong number of channels.
        """
        names = self.available_modalities if available_modalities is None else available_modalities
        with use_available_modalities(self, names, inputs):
            return self.translation(stack_modalities(inputs, len(names)))

    def forward(
        self,
        inputs: Union[Tensor, list[Tensor]],
        data_samples: Optional[list[BaseDataElement]] = None,
        mode: str = 'tensor',
    ) -> Union[dict[str, Tensor], list[DataSample]]:
        """Generates images. The validation and test loops of MMagic call this method.

        Args:
            inputs: input images in [-1, 1], ``(B, 3M, H, W)`` or B tensors ``(3M, H, W)``; with missing modalities,
                only the channels of the available ones.
            data_samples: one sample per image. None: new samples are made.
            mode: ``'tensor'`` or ``'predict'``.

        Returns:
            For ``'tensor'``, the dict that :meth:`branches` returns. For ``'predict'``, the samples as MMagic's
            ``DataSample`` with two new fields: ``fake_img``, the image of the ensemble ``(3, H, W)``, and
            ``branches``, a dict with the images of every branch and of the ensemble, ``(3, H, W)`` each.

        Raises:
            ValueError: for any other mode, or if the modalities in the samples are not those of the model.
        """
        if mode not in ('tensor', 'predict'):
            raise ValueError(f"mode={mode!r} is unknown: choose 'tensor' or 'predict', or call train_step to train.")
        images = _batch(inputs)
        if data_samples:
            images = _in_order(images, data_samples, self.available_modalities)
        branches = self.branches(images.to(next(self.parameters()).dtype))  # float16 after model.half()
        if mode == 'tensor':
            return branches
        results = [DataSample() for _ in inputs]
        for i, sample in enumerate(results):
            if data_samples:
                sample.update(data_samples[i])
            # A dict, because mmengine's data elements do not keep the order of their fields.
            sample.branches = {name: images[i] for name, images in branches.items()}
            sample.fake_img = sample.branches[ENSEMBLE]
        return results

    def train_step(self, data: dict, optim_wrapper: OptimWrapperDict) -> dict[str, Tensor]:
        """Trains the discriminator and then the generator, with one forward pass of the generator.

        Args:
            data: dict with ``inputs``, images in [-1, 1], ``(B, 3M, H, W)`` or B tensors ``(3M, H, W)``, and
                ``data_samples``, B samples with ``gt_img``, the target in [-1, 1], ``(3, H, W)``, and optionally
                ``mask``, ``(1, H, W)``, 1 where the target is known and 0 elsewhere.
            optim_wrapper: optimizer wrappers named ``generators`` and ``discriminators``.

        Returns:
            ``loss_disc`` and, if the generator is trained in this iteration, ``loss_gen`` and its terms ``loss_gan``,
            ``loss_pixel`` and, if the sparsity penalty is on, ``loss_sparsity``.

        Raises:
            ValueError: if the modalities in the samples are not those of the model.
        """
        data = self.data_preprocessor(data, True)
        real = _batch([sample.gt_img for sample in data['data_samples']])  # (B, 3, H, W)
        mask = _batch([sample.get('mask', torch.ones_like(sample.gt_img[:1])) for sample in data['data_samples']])
        inputs = _in_order(_batch(data['inputs']), data['data_samples'], self.modalities)
        inputs = stack_modalities(inputs, len(self.modalities))  # (M * B, 3, H, W)
        gen_wrapper, disc_wrapper = optim_wrapper['generators'], optim_wrapper['discriminators']
        hub = MessageHub.get_current_instance()
        iteration, end = hub.get_info('iter', 0), hub.get_info('max_iters', 0)
        accumulation = disc_wrapper._accumulative_counts
        if accumulation > 1 and disc_wrapper._max_counts < 0 < end:
            # mmengine sets the counters of gradient accumulation for a single wrapper only
            disc_wrapper.initialize_count_status(self.discriminators, iteration, end)
            trained = [i for i in range(end) if self._trains_generator(i, accumulation)]
            gen_wrapper.initialize_count_status(self.generators, bisect_left(trained, iteration), len(trained))
        train_gen = self._trains_generator(iteration, accumulation)

        with gen_wrapper.optim_context(self.generators), torch.set_grad_enabled(train_gen and torch.is_grad_enabled()):
            branches = self.translation(inputs)
        fake = torch.cat([branches[name] for name in self.modalities])  # (M * B, 3, H, W)

        with disc_wrapper.optim_context(self.discriminators):
            loss_disc = discriminator_loss(self._get_target_discriminator(DOMAIN), inputs, real, fake.detach())
        self._update(disc_wrapper, loss_disc)
        log_vars = dict(loss_disc=loss_disc.detach())
        if not train_gen:
            return log_vars

        set_requires_grad(self.discriminators, False)
        with gen_wrapper.optim_context(self.generators):
            loss_gen, terms = self.parse_losses(self._gen_losses(inputs, real, mask, fake, branches[ENSEMBLE]))
        self._update(gen_wrapper, loss_gen)
        set_requires_grad(self.discriminators, True)
        return {**log_vars, 'loss_gen': terms.pop('loss'), **terms}

    def _trains_generator(self, iteration: int, accumulation: int) -> bool:
        update = iteration // accumulation + 1  # current update of the discriminator, from 1
        return iteration >= self.disc_init_steps and update % self.discriminator_steps == 0

    def _update(self, wrapper: OptimWrapper, loss: Tensor) -> None:
        """Updates the parameters as the wrapper's ``update_params`` does, with gradients averaged over the processes.

        MMagic calls its networks without their MMSeparateDistributedDataParallel wrapper, so the wrapper does not
        average the gradients.
        """
        wrapper.backward(wrapper.scale_loss(loss))
        if wrapper.should_update():
            parameters = [p for group in wrapper.optimizer.param_groups for p in group['params']]
            all_reduce_params([p.grad for p in parameters if p.grad is not None], op='mean')
            wrapper.step()
            wrapper.zero_grad()

    def _gen_losses(
        self, inputs: Tensor, real: Tensor, mask: Tensor, fake: Tensor, ensemble: Tensor
    ) -> dict[str, Tensor]:
        """Computes the losses of the generator.

        Args:
            inputs: input images, ``(M * B, 3, H, W)``.
            real: target images, ``(B, 3, H, W)``.
            mask: 1 where the target is known and 0 elsewhere, ``(B, 1, H, W)``.
            fake: generated images of the branches, ``(M * B, 3, H, W)``.
            ensemble: generated images of the ensemble, ``(B, 3, H, W)``.
        """
        logits = self._get_target_discriminator(DOMAIN)(inputs, fake)
        images = [*fake.chunk(len(self.modalities)), ensemble]
        losses = dict(
            loss_gan=adversarial_loss(logits, 1.0, len(self.modalities)),
            loss_pixel=self.pixel_loss_weight * sum(l1_loss(image, real, mask) for image in images),
        )
        if self.sparsity is not None:
            losses['loss_sparsity'] = self.sparsity(self.generators)
        return losses
