# Feature-level fusion by self-attention: gates weight the features of both backbones after every stage.
_base_ = 'concat.py'
model = dict(fusion=dict(type='cen_mm.SelfAttentionFusion'))
