# Settings that the networks without RefineNet share. Penalty and threshold are those of the authors' RefineNet.
loss_decode = dict(type='CrossEntropyLoss', avg_non_ignore=True)  # mean over labeled pixels only
model = dict(
    type='cen_mm.CENSegmentor',
    decode_head=dict(
        dropout_ratio=0.1,
        num_classes=40,
        norm_cfg=dict(type='BN'),
        align_corners=False,
        loss_decode=loss_decode,
    ),
    auxiliary_head=dict(
        type='FCNHead',
        in_index=2,
        channels=256,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=40,
        norm_cfg=dict(type='BN'),
        align_corners=False,
        loss_decode=dict(loss_weight=0.8, **loss_decode),  # mean over two modalities: 0.4 for each, as in mmseg
    ),
    sparsity=dict(loss_weight=3 * 2e-4, channels='parts'),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
