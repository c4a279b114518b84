"""The 17 classes of NYUDv2 that occur in the rooms, with their labels and colors."""

import numpy as np

from cen_mm.datasets.nyudv2 import CLASSES as NYU40

COLORS = {
    'wall': (200, 200, 190), 'floor': (120, 90, 60), 'cabinet': (0, 120, 0), 'bed': (60, 60, 255),
    'table': (255, 220, 0), 'door': (150, 40, 40), 'window': (90, 180, 255), 'bookshelf': (90, 60, 10),
    'picture': (255, 120, 0), 'counter': (160, 255, 100), 'floor mat': (200, 0, 200), 'ceiling': (240, 240, 255),
    'box': (140, 80, 220), 'lamp': (255, 255, 130), 'otherstructure': (120, 120, 120),
    'otherfurniture': (0, 200, 180), 'otherprop': (255, 0, 90),
}  # fmt: skip
"""RGB color of each class in the overview image; the classes are in NYU-40 order."""

CLASSES = tuple(COLORS)
LABELS = {name: NYU40.index(name) for name in CLASSES}
PALETTE = np.array([COLORS.get(name, (0, 0, 0)) for name in NYU40], np.uint8)
