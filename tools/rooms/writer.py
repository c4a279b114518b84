"""Rendering of a whole data set of rooms, written in the layouts of NYUDv2 and Taskonomy."""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from mmengine.utils import track_iter_progress

from cen_mm.datasets.nyudv2 import format_line
from cen_mm.datasets.taskonomy import MODALITIES

from .classes import CLASSES, LABELS, NYU40
from .modalities import derive, sense_depth
from .overview import draw_overview
from .raycast import cast
from .scene import make_scene
from .shading import render_rgb

VERSION = 2  # to be increased whenever the same arguments give different images
NYU_FOLDERS = ('rgb', 'depth', 'masks', 'normal', 'reshading')


def render(
    out_dir: str | Path,
    num_train: int = 200,
    num_val: int = 40,
    size: tuple[int, int] = (160, 120),
    seed: int = 0,
    workers: int = 2,
) -> dict:
    """Renders rooms and writes ``nyudv2/``, ``taskonomy/``, ``overview.png`` and, last, ``rooms.json``.

    A room depends only on ``seed``, its index and ``size``, not on the number of rooms or workers. The first
    ``num_train`` rooms are for training. A complete data set with the same arguments is kept and not rendered again.

    Args:
        out_dir: output folder.
        num_train: number of rooms for training.
        num_val: number of rooms for validation.
        size: width and height of the images in pixels.
        seed: random seed of the rooms.
        workers: number of processes.

    Returns:
        The content of ``rooms.json``: the arguments and, for each class, its fraction of all pixels (``pixels``) and
        the fraction of rooms that contain it (``rooms``). The key ``reused`` is added: whether the data set existed.

    Raises:
        ValueError: if an argument is out of range, or if the folder contains other data.
        OSError: if an image cannot be written.
    """
    out = Path(out_dir)
    arguments = {'version': VERSION, 'num_train': num_train, 'num_val': num_val, 'size': list(size), 'seed': seed}
    _check_arguments(arguments, workers)
    done, started = out / 'rooms.json', out / 'rooms.started'
    if done.is_file():
        summary = json.loads(done.read_text())
        if {name: summary.get(name) for name in arguments} == arguments:
            return dict(summary, reused=True)
        raise ValueError(f'{out} contains rooms rendered with other arguments: remove it or choose another folder.')
    for folder in (out / 'nyudv2', out / 'taskonomy'):
        if folder.exists() and not started.exists():
            raise ValueError(f'{folder} was not created by this tool: choose another output folder.')
    for folder in (*(f'nyudv2/{name}' for name in NYU_FOLDERS), *(f'taskonomy/{name}' for name in MODALITIES)):
        (out / folder).mkdir(parents=True, exist_ok=True)
        for image in (out / folder).glob('*.png'):  # of an interrupted run, which may have had more rooms
            image.unlink()
    started.touch()

    write = partial(_write_room, out=out, size=tuple(size), seed=seed)
    rooms = range(num_train + num_val)
    # spawn, not fork: a forked child of a process with threads (of torch or OpenCV) may wait for a lock forever
    with ProcessPoolExecutor(workers, get_context('spawn'), cv2.setNumThreads, (1,)) as pool:
        counts = list(track_iter_progress((pool.map(write, rooms), len(rooms))))
    _write_lists(out, num_train, num_val)
    draw_overview(out, np.unique(np.linspace(0, num_train + num_val - 1, 6).astype(int)))

    counts = np.stack(counts)
    shares = {name: float(counts[:, LABELS[name]].sum() / counts.sum()) for name in CLASSES}
    frequencies = {name: float((counts[:, LABELS[name]] > 0).mean()) for name in CLASSES}
    summary = dict(arguments, pixels=shares, rooms=frequencies)
    started.write_text(json.dumps(summary, indent=2) + '\n')
    started.rename(done)
    return dict(summary, reused=False)


def _check_arguments(arguments: dict, workers: int) -> None:
    for name, minimum in (('num_train', 1), ('num_val', 1), ('seed', 0)):
        if arguments[name] < minimum:
            raise ValueError(f'{name} must be at least {minimum}, not {arguments[name]}.')
    if workers < 1:
        raise ValueError(f'workers must be at least 1, not {workers}.')
    if min(arguments['size']) < 32:
        raise ValueError(f'size must be at least 32 x 32 pixels, not {" x ".join(map(str, arguments["size"]))}.')


def _write_room(index: int, out: Path, size: tuple[int, int], seed: int) -> np.ndarray:
    """Renders and writes the room ``index``; returns the number of pixels of each NYU-40 class, ``(40,)``."""
    width, height = size
    scene = make_scene(np.random.default_rng([seed, index, 0]))
    rgb = render_rgb(scene, width, height, np.random.default_rng([seed, index, 1]))
    hits = cast(scene.shell + scene.things, scene.camera.eye[:, None], scene.camera.rays(width, height)[0])
    sensor_depth = sense_depth(hits, scene.camera, width, height, np.random.default_rng([seed, index, 2]))

    images = derive(rgb, hits, scene.camera)
    for domain, image in images.items():
        _save(out / 'taskonomy' / _taskonomy_path(index).format(domain=domain), image)
    images.update(depth=sensor_depth, masks=hits.label.reshape(height, width))
    for folder in NYU_FOLDERS:
        _save(out / 'nyudv2' / folder / f'{index:06d}.png', images[folder])
    return np.bincount(hits.label, minlength=len(NYU40))


def _taskonomy_path(index: int) -> str:
    """Returns the path of a room in Taskonomy's layout, with the placeholder ``{domain}``."""
    return f'{{domain}}/point_{index}_view_0_domain_{{domain}}.png'


def _save(path: Path, image: np.ndarray) -> None:
    """Writes an RGB or single-channel image as PNG."""
    image = image[..., ::-1] if image.ndim == 3 else image
    if not cv2.imwrite(str(path), image):
        raise OSError(f'{path} cannot be written: check the free disk space and the permissions.')


def _write_lists(out: Path, num_train: int, num_val: int) -> None:
    """Writes the lists of the training and validation images in both layouts."""
    train, val = range(num_train), range(num_train, num_train + num_val)
    for name, rooms in (('train', train), ('val', val)):
        lines = [format_line(*(f'{folder}/{i:06d}.png' for folder in ('rgb', 'masks', 'depth'))) for i in rooms]
        (out / 'nyudv2' / f'{name}.txt').write_text(''.join(lines))
    for name, rooms in (('train', train), ('test', val)):
        (out / 'taskonomy' / f'{name}_domain.txt').write_text(''.join(_taskonomy_path(i) + '\n' for i in rooms))
