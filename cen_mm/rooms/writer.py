"""Renders many rooms and writes them in the layouts of NYUDv2 and Taskonomy."""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from mmengine.utils import track_iter_progress

from .classes import CLASSES, LABELS, NYU40
from .modalities import DOMAINS, derive, sense_depth
from .overview import draw_overview
from .raycast import cast
from .scene import make_scene
from .shading import render_rgb

VERSION = 2  # raise it when the same arguments come to give other pictures
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

    Room i of a seed is the same however many there are and whoever renders it. The first ``num_train`` are for
    training. A folder that holds a finished set of the same arguments is left as it is.

    Args:
        out_dir (str | Path): folder to write to.
        num_train (int): rooms for training.
        num_val (int): rooms for validation.
        size (tuple): width and height in pixels.
        seed (int): chooses the rooms.
        workers (int): processes.

    Returns:
        dict: what ``rooms.json`` holds: the arguments, and for each class its share of all pixels (``pixels``) and of
        all rooms (``rooms``); and ``reused``, whether the set was there already.

    Raises:
        ValueError: an argument is out of range, or the folder holds something else.
    """
    out = Path(out_dir)
    arguments = {'version': VERSION, 'num_train': num_train, 'num_val': num_val, 'size': list(size), 'seed': seed}
    _check(arguments, workers)
    done, started = out / 'rooms.json', out / 'rooms.started'
    if done.is_file():
        summary = json.loads(done.read_text())
        if {name: summary.get(name) for name in arguments} == arguments:
            return dict(summary, reused=True)
        raise ValueError(f'{out} holds rooms made with other arguments: remove it or choose another folder')
    for folder in (out / 'nyudv2', out / 'taskonomy'):
        if folder.exists() and not started.exists():
            raise ValueError(f'{folder} holds something that was not made here: choose another folder')
    for folder in (*(f'nyudv2/{name}' for name in NYU_FOLDERS), *(f'taskonomy/{d}' for d in DOMAINS)):
        (out / folder).mkdir(parents=True, exist_ok=True)
    started.touch()

    write = partial(_write_room, out=out, size=tuple(size), seed=seed)
    rooms = range(num_train + num_val)
    # Spawned, not forked: a forked child of a process with threads, torch's or OpenCV's, may wait for a lock forever.
    with ProcessPoolExecutor(workers, get_context('spawn'), _one_thread) as pool:
        counts = list(track_iter_progress((pool.map(write, rooms), len(rooms))))
    _write_lists(out, num_train, num_val)
    draw_overview(out, np.unique(np.linspace(0, num_train + num_val - 1, 6).astype(int)))

    counts = np.stack(counts)
    shares = {name: float(counts[:, LABELS[name]].sum() / counts.sum()) for name in CLASSES}
    presence = {name: float((counts[:, LABELS[name]] > 0).mean()) for name in CLASSES}
    summary = dict(arguments, pixels=shares, rooms=presence)
    started.write_text(json.dumps(summary, indent=2) + '\n')
    started.rename(done)
    return dict(summary, reused=False)


def _check(arguments: dict, workers: int) -> None:
    for name, least in (('num_train', 1), ('num_val', 1), ('seed', 0)):
        if arguments[name] < least:
            raise ValueError(f'{name} must be at least {least}, not {arguments[name]}')
    if workers < 1:
        raise ValueError(f'workers must be at least 1, not {workers}')
    if min(arguments['size']) < 32:
        raise ValueError(f'size must be at least 32 x 32 pixels, not {" x ".join(map(str, arguments["size"]))}')


def _one_thread() -> None:
    """The workers fill the machine; threads of OpenCV would only get into each other's way."""
    cv2.setNumThreads(1)


def _write_room(index: int, out: Path, size: tuple[int, int], seed: int) -> np.ndarray:
    """Renders and writes room ``index``; returns how many pixels each of the 40 classes has, (40,)."""
    width, height = size
    scene = make_scene(np.random.default_rng([seed, index, 0]))
    rgb = render_rgb(scene, width, height, np.random.default_rng([seed, index, 1]))
    hits = cast(scene.shell + scene.things, scene.camera.eye[:, None], scene.camera.rays(width, height)[0])
    sensed = sense_depth(hits, scene.camera, width, height, np.random.default_rng([seed, index, 2]))

    images = derive(rgb, hits, scene.camera)
    for domain, image in images.items():
        _save(out / 'taskonomy' / _point(index).format(domain=domain), image)
    images.update(depth=sensed, masks=hits.label.reshape(height, width))
    for folder in NYU_FOLDERS:
        _save(out / 'nyudv2' / folder / f'{index:06d}.png', images[folder])
    return np.bincount(hits.label, minlength=len(NYU40))


def _point(index: int) -> str:
    """Taskonomy's path of one room, with the placeholder ``{domain}``."""
    return f'{{domain}}/point_{index}_view_0_domain_{{domain}}.png'


def _save(path: Path, image: np.ndarray) -> None:
    """Writes an RGB or grey PNG."""
    image = image[..., ::-1] if image.ndim == 3 else image
    if not cv2.imwrite(str(path), image):
        raise OSError(f'cannot write {path}')


def _write_lists(out: Path, num_train: int, num_val: int) -> None:
    """Writes the lists of both layouts."""
    train, val = range(num_train), range(num_train, num_train + num_val)
    for name, rooms in (('train', train), ('val', val)):
        lines = [f'rgb/{i:06d}.png\tmasks/{i:06d}.png\tdepth/{i:06d}.png\n' for i in rooms]
        (out / 'nyudv2' / f'{name}.txt').write_text(''.join(lines))
    for name, rooms in (('train', train), ('test', val)):
        (out / 'taskonomy' / f'{name}_domain.txt').write_text(''.join(_point(i) + '\n' for i in rooms))
