# DeepLabV3+ (mmseg's deeplabv3plus_r50-d8): PSPNet's backbone with a deep stem, its auxiliary head, and another head.
_base_ = 'cen_pspnet_r101.py'
resnet = dict(
    type='mmseg.ResNetV1c',
    depth=50,
    dilations=(1, 1, 2, 4),
    strides=(1, 2, 1, 1),
    contract_dilation=True,
    norm_eval=True,
    init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://resnet50_v1c'),
)
model = dict(
    backbone=dict(
        _delete_=True,
        type='cen_mm.MultimodalBackbone',
        backbone=resnet,
        exchange=r'layer\d\.\d+\.bn2',  # after the 3x3 convolution of every bottleneck
        threshold=2e-2,
    ),
    decode_head=dict(
        _delete_=True,
        type='DepthwiseSeparableASPPHead',
        in_channels=2048,
        in_index=3,
        channels=512,
        dilations=(1, 12, 24, 36),
        c1_in_channels=256,
        c1_channels=48,
        dropout_ratio=0.1,
        num_classes=40,
        norm_cfg=dict(type='BN'),
        align_corners=False,
        loss_decode=_base_.loss_decode,
    ),
)
