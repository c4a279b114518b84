# Settings that segmentation and translation share.
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
vis_backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
log_processor = dict(by_epoch=True)
log_level = 'INFO'
load_from = None
resume = False
randomness = dict(seed=0)
sync_bn = 'torch'  # with several GPUs, batch norms that learn statistics use those of all GPUs

default_hooks = dict(
    timer=dict(type='mmengine.IterTimerHook'),  # MMagic's own timer needs MMagic's validation loop
    logger=dict(type='LoggerHook', interval=20, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='cen_mm.CheckpointHook', interval=5, max_keep_ckpts=2),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    preflight=dict(type='cen_mm.PreflightHook'),  # checks the run before the first step
    finite_loss=dict(type='cen_mm.FiniteLossHook'),  # stops after NaN
    interrupt=dict(type='cen_mm.InterruptHook'),  # SIGTERM and Ctrl-C save a checkpoint
    exchange=dict(type='cen_mm.ExchangeHook'),  # logs and plots how many channels are replaced
)
