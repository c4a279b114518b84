# Exchange without the penalty: only channels that fall below the threshold by themselves are replaced.
_base_ = '../cen_refinenet_r18_rooms.py'
model = dict(sparsity=None)
