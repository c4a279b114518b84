# UPerNet on ConvNeXt-T (mmseg's convnext-tiny_upernet). The backbone is mmpretrain's: `pip install mmpretrain`.
loss_decode = dict(type='CrossEntropyLoss', avg_non_ignore=True)  # mean over labelled pixels alone
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
    type='cen_mm.CENSegmentor',
    backbone=dict(
        type='cen_mm.MultimodalBackbone',
        backbone=convnext,
        # The one norm of every residual block, after its depthwise convolution and before the layers that mix the
        # channels: bn2's place in a bottleneck. Norms between the stages would give up the trunk itself.
        exchange=r'stages\.\d\.\d+\.norm',
        threshold=2e-2,
    ),
    decode_head=dict(
        type='UPerHead',
        in_channels=[96, 192, 384, 768],
        in_index=[0, 1, 2, 3],
        pool_scales=(1, 2, 3, 6),
        channels=512,
        dropout_ratio=0.1,
        num_classes=40,
        norm_cfg=dict(type='BN'),
        align_corners=False,
        loss_decode=loss_decode,
    ),
    auxiliary_head=dict(
        type='FCNHead',
        in_channels=384,
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
