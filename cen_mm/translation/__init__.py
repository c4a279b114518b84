"""What plugs into MMagic, and its only importer. Importing it registers everything under the scope `cen_mm`."""

from .discriminator import SharedPatchDiscriminator
from .generator import CENUNetGenerator
from .metric import TranslationMetric
from .model import CENTranslation

__all__ = ['CENTranslation', 'CENUNetGenerator', 'SharedPatchDiscriminator', 'TranslationMetric']
