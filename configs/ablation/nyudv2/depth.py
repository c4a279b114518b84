# Depth only: with one modality, there is nothing to exchange.
_base_ = 'cen.py'
modality = _base_.data_preprocessor.modalities.depth
model = dict(
    data_preprocessor=dict(modalities=dict(_delete_=True, depth=modality)),
    backbone=dict(exchange=None),
    sparsity=None,
)
