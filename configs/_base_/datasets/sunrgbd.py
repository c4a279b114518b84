# SUN RGB-D, RGB and depth. The converter writes NYUDv2's layout and depth units, so NYUDv2's pipelines are used.
_base_ = 'nyudv2.py'
dataset_type = 'cen_mm.SUNRGBDDataset'
data_root = '{{$CEN_MM_SUNRGBD:data/sunrgbd/}}'

train_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
test_dataloader = val_dataloader
