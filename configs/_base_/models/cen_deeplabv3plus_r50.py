# DeepLabV3+ with a ResNet-50 with deep stem and output stride 8 (deeplabv3plus_r50-d8 in mmseg).
_base_ = 'cen_segmentor.py'
resnet = dict(
    type='mmseg.ResNetV1c',
    depth=50,
    dilations=(1, 1, 2, 4),
    strides=(1, 2, 1, 1),
    contract_dilation=True,
    norm_eval=True,  # keeps ImageNet's statistics; the norms of the heads learn their own
    init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://resnet50_v1c'),
)
model = dict(
    backbone=dict(
        type='cen_mm.MultimodalBackbone',
        backbone=resnet,
        exchange=r'layer\d\.\d+\.bn2',  # after the 3x3 convolution of every bottleneck
        threshold=2e-2,
    ),
    decode_head=dict(
        type='DepthwiseSeparableASPPHead',
        in_channels=2048,
        in_index=3,
        channels=512,
        dilations=(1, 12, 24, 36),
        c1_in_channels=256,
        c1_channels=48,
    ),
    auxiliary_head=dict(in_channels=1024),
)
