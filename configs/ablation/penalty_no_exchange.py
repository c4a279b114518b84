# The penalty alone, on CEN's halves: no scale is below 0, so nothing is exchanged.
_base_ = '../cen_refinenet_r18_rooms.py'
model = dict(backbone=dict(threshold=0))
