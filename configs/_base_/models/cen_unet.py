# U-Net and patch discriminator with the authors' settings for 256x256 images.
model = dict(
    type='cen_mm.CENTranslation',
    generator=dict(
        type='cen_mm.CENUNetGenerator',
        base_channels=64,
        num_levels=8,
        threshold=1e-2,
        dropout_ratio=0.5,
    ),
    discriminator=dict(type='cen_mm.SharedPatchDiscriminator', base_channels=64),
    modalities=['reshading', 'edge_texture'],
    sparsity=dict(loss_weight=1e-3, channels='parts'),
    loss_config=dict(pixel_loss_weight=100.0),
    test_mode='deterministic',  # 'authors': dropout is on in tests
)
