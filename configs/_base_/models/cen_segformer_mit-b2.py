# SegFormer (segformer_mit-b2 in mmseg).
_base_ = 'cen_segmentor.py'
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
    backbone=dict(
        type='cen_mm.MultimodalBackbone',
        backbone=mit,
        # The norms inside the residual units, before attention and before the mix-FFN. Like bn2 of a bottleneck, they
        # are followed by a layer that mixes the channels. The other norms are outside the residual units.
        exchange=r'\.norm[12]$',
        threshold=2e-2,
    ),
    decode_head=dict(type='SegformerHead', in_channels=[64, 128, 320, 512], in_index=[0, 1, 2, 3], channels=256),
    auxiliary_head=None,
)
