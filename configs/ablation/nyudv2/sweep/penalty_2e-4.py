# The exchanging norms have a penalty of 2e-4, and 30 times the learning rate of the network.
_base_ = '../cen.py'
model = dict(sparsity=dict(loss_weight=2e-4))
optim_wrapper = dict(paramwise_cfg=dict(exchanging_norms=dict(lr_mult=30)))
