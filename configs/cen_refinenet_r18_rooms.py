# The network of `make demo`: trains from random weights, in minutes on a CPU with `--amp`.
_base_ = [
    '_base_/models/cen_refinenet_r101.py',
    '_base_/datasets/rooms.py',
    '_base_/schedules/adamw_15e.py',
    '_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=_base_.data_preprocessor,
    backbone=dict(
        depth=18,
        exchange=r'layer\d\.\d+\.bn1',  # between the two convolutions of every block
        norm_eval=False,  # from random weights, the norms learn their own statistics
        zero_init_residual=False,
        init_cfg=None,
    ),
    neck=dict(in_channels=[64, 128, 256, 512], channels=64, top_channels=64, dropout_ratio=0.1),
    decode_head=dict(in_channels=64, num_classes=17, dropout_ratio=0.1),
    sparsity=dict(loss_weight=2e-3),
)
# In 375 iterations, a scale falls from 1 to the threshold only with ten times the learning rate of the network.
optim_wrapper = dict(paramwise_cfg=dict(exchanging_norms=dict(lr_mult=10, decay_mult=0)))
