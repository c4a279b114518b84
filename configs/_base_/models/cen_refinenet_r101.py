# ResNet-101 and RefineNet with the authors' settings for NYUDv2: 118.2 M parameters with 40 classes.
model = dict(
    type='cen_mm.CENSegmentor',
    backbone=dict(
        type='cen_mm.CENResNet',
        depth=101,
        exchange=r'layer\d\.\d+\.bn2',  # after the 3x3 convolution of every bottleneck
        threshold=2e-2,
        norm_eval=True,  # keeps ImageNet's statistics for both modalities; scale and shift are trained
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    ),
    neck=dict(
        type='cen_mm.RefineNetNeck',
        in_channels=[256, 512, 1024, 2048],
        channels=256,
        top_channels=512,
        conv_cfg=dict(type='cen_mm.WinogradConv2d'),  # faster in float32 on the CPU, nn.Conv2d everywhere else
    ),
    decode_head=dict(
        type='cen_mm.SharedClassifierHead',
        in_channels=256,
        num_classes=40,
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),  # mean over labeled pixels only
    ),
    # The authors add 2e-4 of the penalty once for each of their three outputs.
    sparsity=dict(loss_weight=3 * 2e-4, channels='parts'),
    train_cfg=dict(),
    # The authors resize the logits to the label with bicubic interpolation; mmseg uses 'bilinear'.
    test_cfg=dict(mode='whole', interpolation='bicubic'),
)
