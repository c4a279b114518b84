"""Registries of the scope `cen_mm`, children of mmengine's root. Their modules are imported when first needed."""

from mmengine import registry as root


def _child(name: str, parent: root.Registry, *locations: str) -> root.Registry:
    return root.Registry(name, parent=parent, scope='cen_mm', locations=[f'cen_mm.{loc}' for loc in locations])


MODELS = _child('model', root.MODELS, 'segmentation')
METRICS = _child('metric', root.METRICS, 'segmentation')
VISUALIZERS = _child('visualizer', root.VISUALIZERS, 'segmentation')
DATASETS = _child('dataset', root.DATASETS, 'datasets')
TRANSFORMS = _child('transform', root.TRANSFORMS, 'datasets')
HOOKS = _child('hook', root.HOOKS, 'engine', 'segmentation')
LOOPS = _child('loop', root.LOOPS, 'engine')
OPTIMIZERS = _child('optimizer', root.OPTIMIZERS, 'engine')
OPTIM_WRAPPERS = _child('optim_wrapper', root.OPTIM_WRAPPERS, 'engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child('optimizer wrapper constructor', root.OPTIM_WRAPPER_CONSTRUCTORS, 'engine')
PARAM_SCHEDULERS = _child('parameter scheduler', root.PARAM_SCHEDULERS, 'engine')
