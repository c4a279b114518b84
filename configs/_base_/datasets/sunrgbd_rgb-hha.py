# SUN RGB-D, RGB and HHA, with the authors' pipeline. tools/dataset_converters/hha.py computes the HHA files.
_base_ = 'nyudv2_rgb-hha.py'
train_dataloader = val_dataloader = test_dataloader = dict(
    dataset=dict(type='cen_mm.SUNRGBDDataset', data_root='{{$CEN_MM_SUNRGBD:data/sunrgbd/}}')
)
