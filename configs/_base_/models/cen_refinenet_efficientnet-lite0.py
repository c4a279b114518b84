# A light network whose ImageNet weights are a pip package: EfficientNet-Lite0 and a RefineNet with 56 channels.
_base_ = 'cen_refinenet_r18.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='cen_mm.MultimodalBackbone',
        backbone=dict(
            type='mmseg.TIMMBackbone',
            model_name='tf_efficientnet_lite0',
            pretrained=False,  # timm would download weights
            out_indices=(1, 2, 3, 4),
            init_cfg=dict(type='Pretrained', checkpoint='package://efficientnet-lite0'),
        ),
        exchange=r'blocks\.[1-6]\.\d\.bn2$',  # after the depthwise convolution of every block but the first
        threshold=2e-2,
    ),
    neck=dict(in_channels=[24, 40, 112, 320], channels=56, top_channels=56),
    decode_head=dict(in_channels=56),
)
