# ResNet-101 and RefineNet as the authors run them on NYUDv2: 118.2 M parameters with 40 classes.
model = dict(
    type='cen_mm.CENSegmentor',
    backbone=dict(
        type='cen_mm.CENResNet',
        depth=101,
        exchange=r'layer\d\.\d+\.bn2',  # after the 3x3 convolution of every bottleneck
        threshold=2e-2,
        norm_eval=True,  # statistics stay ImageNet's for both modalities; scale and shift are trained
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    ),
    neck=dict(type='cen_mm.RefineNetNeck', in_channels=[256, 512, 1024, 2048], channels=256, top_channels=512),
    decode_head=dict(
        type='cen_mm.SharedClassifierHead',
        in_channels=256,
        num_classes=40,
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),  # mean over labelled pixels alone
    ),
    # The authors add 2e-4 of the penalty once for each of their three outputs.
    sparsity=dict(loss_weight=3 * 2e-4, channels='parts'),
    train_cfg=dict(),
    # Logits are resized to the label as the authors do it; mmseg's way is 'bilinear'.
    test_cfg=dict(mode='whole', interpolation='bicubic'),
)
