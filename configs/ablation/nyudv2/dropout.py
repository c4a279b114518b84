# One modality is dropped in half of the iterations, so that each branch also works alone.
_base_ = 'sweep/penalty_2e-4.py'
model = dict(modality_dropout=0.5)
# With several processes: the norms of a dropped modality have no gradient in that training step.
model_wrapper_cfg = dict(type='MMDistributedDataParallel', broadcast_buffers=False, find_unused_parameters=True)
