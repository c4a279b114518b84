# A light network: ResNet-18 and a RefineNet with 64 channels. It also trains on a CPU.
_base_ = 'cen_refinenet_r101.py'
model = dict(
    backbone=dict(
        depth=18,
        exchange=r'layer\d\.\d+\.bn1',  # between the two convolutions of every block
        norm_eval=False,
        zero_init_residual=False,
        init_cfg=dict(checkpoint='torchvision://resnet18'),
    ),
    neck=dict(in_channels=[64, 128, 256, 512], channels=64, top_channels=64, dropout_ratio=0.1),
    decode_head=dict(in_channels=64, dropout_ratio=0.1),
    sparsity=dict(loss_weight=2e-3),
)
