# SegFormer (mmseg's segformer_mit-b2).
mit = dict(
    type='mmseg.MixVisionTransformer',
    in_channels=3,
    embed_dims=64,
    num_stages=4,
    num_layers=[3, 4, 6, 3],
    num_heads=[1, 2, 5, 8],
    patch_sizes=[7, 3, 3, 3],
    sr_ratios=[8, 4, 2, 1],
    out_indices=(0, 1, 2, 3),
    mlp_ratio=4,
    qkv_bias=True,
    drop_path_rate=0.1,
    init_cfg=dict(
        type='Pretrained',
        checkpoint='https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/mit_b2_20220624-66e8bf70.pth',
    ),
)
model = dict(
    type='cen_mm.CENSegmentor',
    backbone=dict(
        type='cen_mm.MultimodalBackbone',
        backbone=mit,
        # The norm of every residual unit, before attention and before the mix-FFN: like bn2, its output goes straight
        # into layers that mix the channels. The other norms stand on the trunk, or see the reduced keys alone.
        exchange=r'\.norm[12]$',
        threshold=2e-2,
    ),
    decode_head=dict(
        type='SegformerHead',
        in_channels=[64, 128, 320, 512],
        in_index=[0, 1, 2, 3],
        channels=256,
        dropout_ratio=0.1,
        num_classes=40,
        norm_cfg=dict(type='BN'),
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),  # mean over labelled pixels alone
    ),
    sparsity=dict(loss_weight=3 * 2e-4, channels='parts'),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
