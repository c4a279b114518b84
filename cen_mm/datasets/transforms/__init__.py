"""Transforms for segmentation (loading, geometry, packing) and for translation."""
