# Depth only: with one modality, there is nothing to exchange.
_base_ = '../cen_refinenet_r18_rooms.py'
model = dict(
    data_preprocessor=dict(modalities=dict(_delete_=True, depth=_base_.data_preprocessor.modalities.depth)),
    backbone=dict(exchange=None),
    sparsity=None,
)
