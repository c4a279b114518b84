# Prepares for missing modalities: half of the training steps go without RGB or without depth.
_base_ = 'cen_refinenet_r18_rooms.py'
model = dict(modality_dropout=0.5)
# Under several processes: the norms and the weights of a dropped modality are not used in that step.
model_wrapper_cfg = dict(type='MMDistributedDataParallel', broadcast_buffers=False, find_unused_parameters=True)
