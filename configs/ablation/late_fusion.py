# Late fusion: a network and a loss for each modality; their logits are averaged, for alpha keeps its equal start.
_base_ = '../cen_refinenet_r18_rooms.py'
model = dict(private_convs=True, backbone=dict(exchange=None), sparsity=None)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'ensemble.alpha': dict(lr_mult=0)}))
