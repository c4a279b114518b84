# UPerNet with ConvNeXt-T (convnext-tiny_upernet in mmseg). The backbone needs mmpretrain: `pip install '.[networks]'`.
_base_ = 'cen_segmentor.py'
convnext = dict(
    type='mmpretrain.ConvNeXt',
    arch='tiny',
    out_indices=[0, 1, 2, 3],
    drop_path_rate=0.4,
    layer_scale_init_value=1.0,
    gap_before_final_norm=False,
    init_cfg=dict(
        type='Pretrained',
        checkpoint='https://download.openmmlab.com/mmclassification/v0/convnext/downstream/convnext-tiny_3rdparty_32xb128-noema_in1k_20220301-795e9634.pth',
        prefix='backbone.',
    ),
)
model = dict(
    backbone=dict(
        type='cen_mm.MultimodalBackbone',
        backbone=convnext,
        # The norm inside every residual block, after the depthwise convolution. Like bn2 of a bottleneck, it is
        # followed by a layer that mixes the channels. The norms between the stages are outside the residual blocks.
        exchange=r'stages\.\d\.\d+\.norm',
        threshold=2e-2,
    ),
    decode_head=dict(
        type='UPerHead',
        in_channels=[96, 192, 384, 768],
        in_index=[0, 1, 2, 3],
        pool_scales=(1, 2, 3, 6),
        channels=512,
    ),
    auxiliary_head=dict(in_channels=384),
)
