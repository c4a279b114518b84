# Late fusion: one network and one loss per modality; the mean of the logits is the output, because alpha stays equal.
_base_ = '../cen_refinenet_r18_rooms.py'
model = dict(per_modality_convs=True, backbone=dict(exchange=None), sparsity=None)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'ensemble.alpha': dict(lr_mult=0)}))
