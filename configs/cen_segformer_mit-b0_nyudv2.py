# The network with the fewest operations: 38 GFLOPs for RGB and depth of 480x640 pixels.
_base_ = 'cen_segformer_mit-b2_nyudv2.py'
mit = dict(
    embed_dims=32,
    num_layers=[2, 2, 2, 2],
    init_cfg=dict(
        checkpoint='https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/mit_b0_20220624-7e0fe6dd.pth'
    ),
)
model = dict(backbone=dict(backbone=mit), decode_head=dict(in_channels=[32, 64, 160, 256]))
