# SUN RGB-D, RGB and depth: the pipelines of NYUDv2, whose layout and depth unit the converter writes.
_base_ = 'nyudv2.py'
dataset_type = 'cen_mm.SUNRGBDDataset'
data_root = '{{$CEN_MM_SUNRGBD:data/sunrgbd/}}'

train_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
test_dataloader = val_dataloader
