# Training for missing modalities: RGB or depth is dropped in half of the training steps.
_base_ = 'cen_refinenet_r18_rooms.py'
model = dict(modality_dropout=0.5)
# With several processes: the norms of a dropped modality have no gradient in that training step.
model_wrapper_cfg = dict(type='MMDistributedDataParallel', broadcast_buffers=False, find_unused_parameters=True)
