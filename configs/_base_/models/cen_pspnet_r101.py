# PSPNet, dilated to 1/8 (mmseg's pspnet_r101b-d8), with the penalty, threshold and norms of the authors' RefineNet.
loss_decode = dict(type='CrossEntropyLoss', avg_non_ignore=True)  # mean over labelled pixels alone
model = dict(
    type='cen_mm.CENSegmentor',
    backbone=dict(
        type='cen_mm.CENResNet',
        depth=101,
        dilations=(1, 1, 2, 4),
        strides=(1, 2, 1, 1),
        contract_dilation=True,
        exchange=r'layer\d\.\d+\.bn2',  # after the 3x3 convolution of every bottleneck
        threshold=2e-2,
        norm_eval=True,  # ImageNet's statistics; the heads' norms have none yet and gather their own
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    ),
    decode_head=dict(
        type='PSPHead',
        in_channels=2048,
        in_index=3,
        channels=512,
        pool_scales=(1, 2, 3, 6),
        dropout_ratio=0.1,
        num_classes=40,
        norm_cfg=dict(type='BN'),
        align_corners=False,
        loss_decode=loss_decode,
    ),
    auxiliary_head=dict(
        type='FCNHead',
        in_channels=1024,
        in_index=2,
        channels=256,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=40,
        norm_cfg=dict(type='BN'),
        align_corners=False,
        loss_decode=dict(loss_weight=0.8, **loss_decode),  # a mean over both modalities: 0.4 for each, as in mmseg
    ),
    sparsity=dict(loss_weight=3 * 2e-4, channels='parts'),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
