# Penalty without exchange: no scale is below the threshold 0.
_base_ = '../cen_refinenet_r18_rooms.py'
model = dict(backbone=dict(threshold=0))
