# PSPNet with output stride 8 (pspnet_r101b-d8 in mmseg).
_base_ = 'cen_segmentor.py'
model = dict(
    backbone=dict(
        type='cen_mm.CENResNet',
        depth=101,
        dilations=(1, 1, 2, 4),
        strides=(1, 2, 1, 1),
        contract_dilation=True,
        exchange=r'layer\d\.\d+\.bn2',  # after the 3x3 convolution of every bottleneck
        threshold=2e-2,
        norm_eval=True,  # keeps ImageNet's statistics; the norms of the heads learn their own
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    ),
    decode_head=dict(type='PSPHead', in_channels=2048, in_index=3, channels=512, pool_scales=(1, 2, 3, 6)),
    auxiliary_head=dict(in_channels=1024),
)
