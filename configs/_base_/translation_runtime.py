# Settings of the translation configs.
_base_ = 'runtime.py'
default_scope = 'mmagic'
custom_imports = dict(imports=['cen_mm.translation'], allow_failed_imports=False)
visualizer = dict(type='mmengine.Visualizer', vis_backends=_base_.vis_backends, name='visualizer')
# MMagic calls the networks without this wrapper, so the model averages the gradients itself.
model_wrapper_cfg = dict(
    type='MMSeparateDistributedDataParallel', broadcast_buffers=False, find_unused_parameters=True
)
default_hooks = dict(
    checkpoint=dict(save_best='L1', rule='less'),  # of the ensemble
    visualization=dict(type='cen_mm.ResultsHook'),
)
