# DELIVER with four modalities: RGB, depth as HHA, LiDAR and events. As in CMNeXt's evaluation, classes that are in
# neither the labels nor the predictions count as 0 in the mean (nan_to_num=0); images are tested in their size of
# 1042x1042 instead of 1024x1024. The scores that papers report are on the validation split:
# tools/test.py CONFIG CHECKPOINT --cfg-options test_dataloader.dataset.filter_cfg.path=/val/
# One condition or sensor failure: test_dataloader.dataset.filter_cfg.path='night/test/'
_base_ = 'multimodal.py'
# CMNeXt divides these modalities by 255.
scaled = dict(mean=[0.0] * 3, std=[255.0] * 3)
data_preprocessor = dict(modalities=dict(depth=scaled, event=scaled, lidar=scaled))
train_pipeline = [
    dict(step, **{key: (1024, 1024) for key in ('size', 'crop_size') if key in step}) for step in _base_.train_pipeline
]
dataset = dict(
    data_root='{{$CEN_MM_DELIVER:data/deliver/}}',
    modalities=dict(
        rgb=dict(path='img/{}_rgb_front.png', channels=[0, 1, 2]),
        depth=dict(path='hha/{}_depth_front.png', channels=[0, 1, 2], interpolation='bilinear'),
        event=dict(path='event/{}_event_front.png', channels=[0, 1, 2], resize=True),  # some are smaller
        lidar=dict(path='lidar/{}_lidar_front.png', channels=[0, 1, 2], interpolation='bilinear'),
    ),
    label=dict(path='semantic/{}_semantic_front.png', channels=[0]),
    reduce_zero_label=True,  # 0 and 255 are unlabeled, classes start at 1
    metainfo=dict(
        classes=[
            'Building', 'Fence', 'Other', 'Pedestrian', 'Pole', 'RoadLine', 'Road', 'SideWalk', 'Vegetation', 'Cars',
            'Wall', 'TrafficSign', 'Sky', 'Ground', 'Bridge', 'RailTrack', 'GroundRail', 'TrafficLight', 'Static',
            'Dynamic', 'Water', 'Terrain', 'TwoWheeler', 'Bus', 'Truck',
        ],
        palette=[
            [70, 70, 70], [100, 40, 40], [55, 90, 80], [220, 20, 60], [153, 153, 153], [157, 234, 50], [128, 64, 128],
            [244, 35, 232], [107, 142, 35], [0, 0, 142], [102, 102, 156], [220, 220, 0], [70, 130, 180], [81, 0, 81],
            [150, 100, 100], [230, 150, 140], [180, 165, 180], [250, 170, 30], [110, 190, 160], [170, 120, 50],
            [45, 60, 150], [145, 170, 100], [0, 0, 230], [0, 60, 100], [0, 0, 70],
        ],
    ),
)  # fmt: skip
train_dataloader = dict(
    batch_size=2,  # as CMNeXt, per GPU
    dataset=dict(filter_cfg=dict(path='/train/'), pipeline=train_pipeline, **dataset),
)
val_dataloader = dict(dataset=dict(filter_cfg=dict(path='/val/'), **dataset))
test_dataloader = dict(dataset=dict(filter_cfg=dict(path='/test/'), **dataset))
val_evaluator = test_evaluator = dict(nan_to_num=0)
del scaled, dataset  # changing them in a child config would have no effect
