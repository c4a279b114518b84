# SUN RGB-D, RGB and depth. The converter writes NYUDv2's layout and depth units, so NYUDv2's pipelines are used.
_base_ = 'nyudv2.py'
train_dataloader = val_dataloader = test_dataloader = dict(
    dataset=dict(type='cen_mm.SUNRGBDDataset', data_root='{{$CEN_MM_SUNRGBD:data/sunrgbd/}}')
)
