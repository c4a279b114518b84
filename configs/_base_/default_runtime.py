# Settings of the segmentation configs.
_base_ = 'runtime.py'
default_scope = 'mmseg'
custom_imports = dict(imports=['cen_mm'], allow_failed_imports=False)
visualizer = dict(type='cen_mm.MultimodalVisualizer', vis_backends=_base_.vis_backends, name='visualizer')
default_hooks = dict(
    checkpoint=dict(save_best='mIoU'),  # of the ensemble
    visualization=dict(type='cen_mm.MultimodalVisualizationHook'),
)
tta_model = dict(type='cen_mm.MultimodalTTAModel')
