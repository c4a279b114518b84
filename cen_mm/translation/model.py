"""Image-to-image translation on MMagic: the GAN step, and what a test makes."""

from typing import NamedTuple, Optional, Sequence, Union

import torch
import torch.nn.functional as F
from mmagic.models.base_models import BaseTranslationModel
from mmagic.models.utils import set_requires_grad
from mmengine.dist import all_reduce_params
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from ..exchange import ENSEMBLE, SparsityPenalty, check_present, only_present, stack_modalities
from ..registry import MODELS
from .generator import ImageNorm

# MMagic keeps its networks by domain. This name is in the keys of checkpoints, which are the same for every target.
DOMAIN = 'target'
TEST_MODES = ('deterministic', 'authors')


def _batch(images: Union[Tensor, Sequence[Tensor]]) -> Tensor:
    return images if isinstance(images, Tensor) else torch.stack(list(images))


def _check_inputs(data_samples: Sequence[BaseDataElement], modalities: tuple[str, ...]) -> None:
    """Raises ValueError if the images were packed from other modalities than the model's."""
    packed = tuple(data_samples[0].get('modalities', modalities))
    if packed != modalities:
        raise ValueError(
            f"The data set's inputs are {list(packed)}, but model.modalities is {list(modalities)}: "
            'name the same modalities in the same order in both.'
        )


def _pixel_loss(fake: Tensor, real: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute difference of ``(B, 3, H, W)`` over the pixels whose ``mask`` ``(B, 1, H, W)`` is 1; 0 of none."""
    known = mask.sum().clamp(min=1) / mask.numel()  # exactly 1 if all are known, so that nothing is rounded
    return F.l1_loss(torch.where(mask > 0, fake, real), real) / known


def _discriminator_may_be_missing(model: 'CENTranslation', keys: NamedTuple) -> None:
    """Only training needs one, so a file and a model fit together, strictly too, if either has none."""
    own = {name for name, _ in model.named_parameters() if name.startswith('discriminators.')}
    if own <= set(keys.missing_keys):
        for names in keys:
            names[:] = [name for name in names if not name.startswith('discriminators.')]


@MODELS.register_module()
class CENTranslation(BaseTranslationModel):
    """Channel exchanging network for image-to-image translation.

    Losses. Discriminator: half of real and fake, summed over the modalities. Generator: adversarial, summed over the
    modalities' branches; 100 times L1 of the pixels where the target is known, summed over branches and ensemble; the
    penalty.

    Args:
        generator: config of a ``CENUNetGenerator``; it is told of the modalities.
        discriminator: config of a ``SharedPatchDiscriminator``; None: a model for tests alone.
        modalities: names of the input modalities, in the order of the channels.
        sparsity: arguments of :class:`~cen_mm.exchange.SparsityPenalty`; None: no penalty.
        test_mode: of eval mode. The norms use the image's own statistics and leave the running ones alone;
            ``'deterministic'``: dropout is off, ``'authors'``: dropout is on.
        present: names of the modalities that there are in tests, in the order of the channels; None: all.
        data_preprocessor: config; None: mmengine's, which moves the data to the device.
        **kwargs: MMagic's: ``disc_init_steps``, iterations before the generator is trained; ``discriminator_steps``,
            the generator joins in every so many-th update of the discriminator (with gradient accumulation: in all
            its iterations); ``loss_config``, whose ``pixel_loss_weight`` is 100 if not given.

    Raises:
        ValueError: for an unknown test mode, or a present modality that is none of the model's.
    """

    def __init__(
        self,
        generator: dict,
        discriminator: Optional[dict],
        modalities: Sequence[str],
        sparsity: Optional[dict] = None,
        test_mode: str = 'deterministic',
        present: Optional[Sequence[str]] = None,
        data_preprocessor: Optional[dict] = None,
        **kwargs,
    ):
        if test_mode not in TEST_MODES:
            raise ValueError(f'test_mode={test_mode!r} is unknown: choose one of {", ".join(TEST_MODES)}.')
        if present is not None:
            check_present(present, modalities)
        super().__init__(
            {**generator, 'modalities': modalities},
            discriminator,
            default_domain=DOMAIN,
            reachable_domains=[DOMAIN],
            related_domains=[DOMAIN, *modalities],
            data_preprocessor=data_preprocessor,
            **kwargs,
        )
        self.sparsity = SparsityPenalty(**sparsity) if sparsity else None
        self.pixel_loss_weight = self.loss_config.get('pixel_loss_weight', 100.0)
        self.test_mode = test_mode
        self.present = tuple(present or modalities)
        for module in self.generators.modules():
            if isinstance(module, ImageNorm):
                module.own_statistics = True
        self.register_load_state_dict_post_hook(_discriminator_may_be_missing)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities, in the order in which they are stacked."""
        return self._get_target_generator(DOMAIN).modalities

    def train(self, mode: bool = True) -> 'CENTranslation':
        """Training or eval mode; in the authors' test mode dropout stays on in both."""
        super().train(mode)
        for module in self.generators.modules():
            if isinstance(module, nn.Dropout):
                module.train(mode or self.test_mode == 'authors')
        return self

    def branches(self, inputs: Tensor, present: Optional[Sequence[str]] = None) -> dict[str, Tensor]:
        """The image that each branch and the ensemble make.

        Args:
            inputs: in [-1, 1], ``(B, 3M, H, W)``; of the present modalities alone, ``(B, 3P, H, W)``.
            present: names of the modalities in ``inputs``, in their order, where others are missing; None: the model's
                ``present``, which is all if not set.

        Returns:
            ``{'reshading': .., 'edge_texture': .., 'ensemble': ..}``, each ``(B, 3, H, W)`` in [-1, 1]; of the
            present modalities alone.

        Raises:
            ValueError: for unknown names, or another number of channels.
        """
        present = self.present if present is None else present
        with only_present(self, present, inputs):
            return self.translation(stack_modalities(inputs, len(present)))

    def forward(
        self,
        inputs: Union[Tensor, list[Tensor]],
        data_samples: Optional[list[BaseDataElement]] = None,
        mode: str = 'tensor',
    ) -> Union[dict[str, Tensor], list[BaseDataElement]]:
        """What MMagic's loops call in tests.

        Args:
            inputs: in [-1, 1], ``(B, 3M, H, W)`` or B times ``(3M, H, W)``; of the present modalities.
            data_samples: one for each image; None: new ones.
            mode: ``'tensor'``: the branches; ``'predict'``: the samples, with ``fake_img``, the ensemble's image
                ``(3, H, W)``, and ``branches``, a dict of each branch's and the ensemble's.

        Raises:
            ValueError: for any other mode, or if the data set's inputs are not the model's modalities.
        """
        if mode not in ('tensor', 'predict'):
            raise ValueError(f"mode={mode!r} is unknown: choose 'tensor' or 'predict', or call train_step to train.")
        if data_samples:
            _check_inputs(data_samples, self.present)
        branches = self.branches(_batch(inputs))
        if mode == 'tensor':
            return branches
        data_samples = data_samples or [BaseDataElement() for _ in inputs]
        for i, sample in enumerate(data_samples):
            # A dict, because mmengine's elements forget the order of their fields.
            sample.branches = {name: images[i] for name, images in branches.items()}
            sample.fake_img = sample.branches[ENSEMBLE]
        return data_samples

    def train_step(self, data: dict, optim_wrapper: OptimWrapperDict) -> dict[str, Tensor]:
        """Trains the discriminator, then the generator, which runs once.

        Args:
            data: ``inputs``, in [-1, 1], ``(B, 3M, H, W)`` or B times ``(3M, H, W)``; ``data_samples``, B of them,
                with ``gt_img``, in [-1, 1], ``(3, H, W)``, and ``mask``, ``(1, H, W)``, 1 where it is known; without a
                mask all of it is.
            optim_wrapper: of ``generators`` and ``discriminators``.

        Returns:
            ``loss_disc`` and, where the generator is trained, ``loss_gen`` and what it is the sum of: ``loss_gan``,
            ``loss_pixel``, ``loss_sparsity``.

        Raises:
            ValueError: if the data set's inputs are not the model's modalities.
        """
        data = self.data_preprocessor(data, True)
        _check_inputs(data['data_samples'], self.modalities)
        real = _batch([sample.gt_img for sample in data['data_samples']])  # (B, 3, H, W)
        mask = _batch([sample.get('mask', torch.ones_like(sample.gt_img[:1])) for sample in data['data_samples']])
        inputs = stack_modalities(_batch(data['inputs']), len(self.modalities))  # (M * B, 3, H, W)
        gen_wrapper, disc_wrapper = optim_wrapper['generators'], optim_wrapper['discriminators']
        iteration = MessageHub.get_current_instance().get_info('iter', 0)
        update = iteration // disc_wrapper._accumulative_counts + 1  # of the discriminator
        train_gen = iteration >= self.disc_init_steps and update % self.discriminator_steps == 0

        with gen_wrapper.optim_context(self.generators), torch.set_grad_enabled(train_gen):
            branches = self.translation(inputs)
        fake = torch.cat([branches[name] for name in self.modalities])  # (M * B, 3, H, W)

        with disc_wrapper.optim_context(self.discriminators):
            loss_disc = self._disc_loss(inputs, real, fake.detach())
        self._update(disc_wrapper, loss_disc)
        log_vars = dict(loss_disc=loss_disc.detach())
        if not train_gen:
            return log_vars

        set_requires_grad(self.discriminators, False)
        with gen_wrapper.optim_context(self.generators):
            loss_gen, parts = self.parse_losses(self._gen_losses(inputs, real, mask, fake, branches[ENSEMBLE]))
        self._update(gen_wrapper, loss_gen)
        set_requires_grad(self.discriminators, True)
        return {**log_vars, 'loss_gen': parts.pop('loss'), **parts}

    def _update(self, wrapper: OptimWrapper, loss: Tensor) -> None:
        """The wrapper's ``update_params``, with gradients averaged over the processes.

        MMagic calls its networks past MMSeparateDistributedDataParallel, which then averages nothing.
        """
        wrapper.backward(wrapper.scale_loss(loss))
        if wrapper.should_update():
            parameters = [p for group in wrapper.optimizer.param_groups for p in group['params']]
            all_reduce_params([p.grad for p in parameters if p.grad is not None], op='mean')
            wrapper.step()
            wrapper.zero_grad()

    def _adversarial(self, logits: Tensor, label: float) -> Tensor:
        """Binary cross entropy of ``(M * B, 1, h, w)``: a mean in each modality, summed over them."""
        return len(self.modalities) * F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))

    def _disc_loss(self, inputs: Tensor, real: Tensor, fake: Tensor) -> Tensor:
        """Of inputs and fake images ``(M * B, 3, H, W)`` and real ones ``(B, 3, H, W)``, a scalar."""
        images = torch.cat([real.repeat(len(self.modalities), 1, 1, 1), fake])  # one pass for both
        on_real, on_fake = self._get_target_discriminator(DOMAIN)(inputs.repeat(2, 1, 1, 1), images).chunk(2)
        return (self._adversarial(on_real, 1.0) + self._adversarial(on_fake, 0.0)) / 2

    def _gen_losses(
        self, inputs: Tensor, real: Tensor, mask: Tensor, fake: Tensor, ensemble: Tensor
    ) -> dict[str, Tensor]:
        """Scalars, of inputs and fakes ``(M * B, 3, H, W)``, real ``(B, 3, H, W)``, its mask, the ensemble's image."""
        logits = self._get_target_discriminator(DOMAIN)(inputs, fake)
        images = [*fake.chunk(len(self.modalities)), ensemble]
        losses = dict(
            loss_gan=self._adversarial(logits, 1.0),
            loss_pixel=self.pixel_loss_weight * sum(_pixel_loss(image, real, mask) for image in images),
        )
        if self.sparsity is not None:
            losses['loss_sparsity'] = self.sparsity(self.generators)
        return losses
