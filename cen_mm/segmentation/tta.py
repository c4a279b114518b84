"""Test-time augmentation for every branch."""

from typing import Optional, Union

from mmengine.structures import PixelData
from mmseg.models import SegTTAModel
from mmseg.structures import SegDataSample
from torch import nn

from ..registry import MODELS


@MODELS.register_module()
class MultimodalTTAModel(SegTTAModel):
    """Averages the predictions over scales and flips, as mmseg does, for each branch and for the ensemble.

    Args:
        module: config of the segmentor.
        data_preprocessor: not used. The segmentor has its own.
    """

    def __init__(self, module: Union[dict, nn.Module], data_preprocessor: Optional[dict] = None):
        # mmengine passes the config's variable, which would replace the preprocessor of the module.
        super().__init__(module)

    def merge_preds(self, data_samples_list: list[list[SegDataSample]]) -> list[SegDataSample]:
        """Merges the augmented predictions of every image.

        Args:
            data_samples_list: for each image, one sample per augmentation, as returned by the segmentor.

        Returns:
            One sample per image; ``pred_sem_seg`` has the same fields as in the segmentor's samples.
        """
        for samples in data_samples_list:
            logits = [sample.seg_logits for sample in samples]
            merged = PixelData()
            for field, _ in logits[0].items():
                for sample, sample_logits in zip(samples, logits):
                    data = sample_logits.get(field)
                    # postprocess_result has applied the sigmoid of a single channel, and merge_preds does it again.
                    sample.seg_logits = PixelData(data=data.logit() if self.module.out_channels == 1 else data)
                merged.set_field(super().merge_preds([samples])[0].pred_sem_seg.data, field)
            samples[-1].pred_sem_seg = merged
        return [samples[-1] for samples in data_samples_list]
