"""Tests trained networks on corrupted images, and compares them in a table and a plot.

python tools/analysis_tools/robustness.py CONFIG CHECKPOINT [CONFIG CHECKPOINT ...] --out-dir robustness

Each modality in turn is missing, or has holes, noise or blur; RGB is dark, and the other modalities are shifted
against it. All networks get the same images. The command is resumable. These files are written:

- robustness.md: mean IoU of the ensemble, one row per corruption and one column per network
- robustness.png: the same as curves
- corruptions.png: one test image with all corruptions
- scores.json: the scores of all branches
"""

import argparse
import copy
import hashlib
import json
import os
from pathlib import Path
from typing import Optional

from corruptions import AMOUNTS, Corruption, list_corruptions
from matplotlib.figure import Figure
from mmengine.config import Config, DictAction
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.registry import DATASETS
from mmengine.runner import Runner

from cen_mm import config_argument
from cen_mm.apis import init_model, predict
from cen_mm.engine import set_up_process
from cen_mm.segmentation import FusionSegmentor
from cen_mm.segmentation.visualizer import to_picture

CLEAN = 'clean'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'networks', nargs='+', metavar='CONFIG CHECKPOINT', help='config and checkpoint of each network'
    )
    parser.add_argument('--out-dir', type=Path, default=Path('robustness'), help='output folder')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='settings to override in each config')
    args = parser.parse_args()
    if len(args.networks) % 2:
        parser.error('give a checkpoint after each config')
    return args


def read_networks(args: argparse.Namespace) -> dict[str, tuple[Config, str]]:
    """Reads the configs; returns config and checkpoint of each network by the config's name.

    Raises:
        SystemExit: for a missing file, two configs of the same name, or a config that is not one of segmentation.
    """
    networks = {}
    for path, checkpoint in zip(args.networks[::2], args.networks[1::2]):
        name = Path(path).stem
        if name in networks:
            raise SystemExit(f'Two configs are named {name}: give configs with different file names.')
        if not Path(checkpoint).is_file():
            raise SystemExit(f'The checkpoint {checkpoint} does not exist: give the path of a .pth file.')
        try:
            cfg = Config.fromfile(config_argument(path))
        except argparse.ArgumentTypeError as error:
            raise SystemExit(str(error)) from None
        cfg.merge_from_dict(args.cfg_options or {})
        dataset = cfg.get('test_dataloader', {}).get('dataset', {})
        if 'modalities' not in dataset or (dataset.get('pipeline') or [{}])[0].get('type') != 'cen_mm.LoadModalities':
            raise SystemExit(
                f"The test data set of {path} is not one of segmentation whose pipeline begins with type='cen_mm."
                "LoadModalities': only such networks can be tested."
            )
        available = cfg.model.get('available_modalities') or list(dataset.modalities)
        dataset.modalities = {name: dataset.modalities[name] for name in available}
        networks[name] = cfg, checkpoint
    return networks


def corrupt(cfg: Config, corruption: Optional[Corruption]) -> Config:
    """Returns a copy of a config whose test images are corrupted. None: they are not."""
    cfg = copy.deepcopy(cfg)
    dataset = cfg.test_dataloader.dataset
    if corruption is None:
        return cfg
    if corruption.kind == 'missing':
        del dataset.modalities[corruption.modality]
    else:
        dataset.pipeline.insert(1, dict(type='cen_mm.Corrupt', **corruption._asdict()))
    return cfg


def evaluate(model: BaseModel, corruption: Optional[Corruption]) -> dict[str, float]:
    """Tests a network on corrupted images; returns the scores of all branches in %."""
    cfg = corrupt(model.cfg, corruption)
    loader = Runner.build_dataloader(cfg.test_dataloader, seed=0)
    evaluator = Evaluator(cfg.test_evaluator)
    evaluator.dataset_meta = loader.dataset.metainfo
    for batch in loader:
        evaluator.process(predict(model, batch), batch)
    return evaluator.evaluate(len(loader.dataset))


def is_possible(model: BaseModel, corruption: Corruption) -> bool:
    """Returns whether the network reads the modality, and can do without it if it is missing."""
    if corruption.modality not in model.available_modalities:
        return False
    others = len(model.available_modalities) > 1 and not isinstance(model, FusionSegmentor)
    return corruption.kind != 'missing' or others


def write_table(scores: dict[str, dict[str, dict]], corruptions: list[Corruption], path: Path) -> None:
    """Writes one row per corruption: mean IoU (%) of the ensemble of each network, which are the columns."""
    lines = [['corruption', *scores], ['---'] * (1 + len(scores))]
    for key in (CLEAN, *map(str, corruptions)):
        lines.append([key, *(f'{runs[key]["mIoU"]:.1f}' if key in runs else '' for runs in scores.values())])
    path.write_text(''.join(f'| {" | ".join(line)} |\n' for line in lines), encoding='utf-8')


def draw_scores(scores: dict[str, dict[str, dict]], corruptions: list[Corruption], path: Path) -> None:
    """Plots the mean IoU of each network against the amount of each corruption."""
    kinds = list(dict.fromkeys(c[:2] for c in corruptions if c.kind != 'missing'))
    figure = Figure((3 * (len(kinds) // 2), 5.5), layout='constrained')
    axes = figure.subplots(2, len(kinds) // 2, squeeze=False, sharey=True).flat  # a modality has four kinds
    for axis, (modality, kind) in zip(axes, kinds):
        for name, runs in scores.items():
            cases = [c for c in corruptions if c[:2] == (modality, kind) and str(c) in runs]
            values = [runs[CLEAN]['mIoU'], *(runs[str(c)]['mIoU'] for c in cases)]
            axis.plot([0, *(c.amount for c in cases)], values, marker='.', label=name)
        axis.set_title(f'{modality}: {kind}', fontsize=9)
        axis.grid(alpha=0.3)
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside upper center', ncols=len(labels))
    figure.supxlabel('amount', fontsize=9)
    figure.supylabel('mean IoU of the ensemble, %', fontsize=9)
    figure.savefig(path, dpi=100)


def draw_corruptions(cfg: Config, path: Path) -> None:
    """Draws the first test image with all corruptions; a row has the amounts of one kind."""
    rows: dict[tuple, list[Corruption]] = {}
    for corruption in list_corruptions(list(cfg.test_dataloader.dataset.modalities)):
        if corruption.kind != 'missing':
            rows.setdefault(corruption[:2], []).append(corruption)
    columns = 1 + max(map(len, AMOUNTS.values()))
    figure = Figure((2.4 * columns, 1.9 * len(rows)), layout='constrained')
    for axes, ((modality, kind), cases) in zip(figure.subplots(len(rows), columns, squeeze=False), rows.items()):
        for axis, case in zip(axes, [None, *cases]):
            dataset = DATASETS.build(corrupt(cfg, case).test_dataloader.dataset)
            image = dataset[0]['inputs'][modality]
            axis.imshow(to_picture(image, bgr=modality == 'rgb'))
            axis.set_title(f'{modality}: {kind} {case.amount:g}' if case else f'{modality}: {CLEAN}', fontsize=8)
            axis.set_axis_off()
    figure.savefig(path, dpi=100)


def main() -> None:
    args = parse_args()
    networks = read_networks(args)
    set_up_process()
    MMLogger.get_instance('robustness', log_level='WARNING')  # without the tables of every test
    args.out_dir.mkdir(parents=True, exist_ok=True)
    file = args.out_dir / 'scores.json'
    known = json.loads(file.read_text()) if file.is_file() else {}
    modalities = dict.fromkeys(name for cfg, _ in networks.values() for name in cfg.test_dataloader.dataset.modalities)
    corruptions = list_corruptions(list(modalities))
    scores = {}
    for name, (cfg, checkpoint) in networks.items():
        # scores of another checkpoint or of other settings are not reused
        settings = hashlib.sha256(repr(cfg.to_dict()).encode()).hexdigest()
        run = f'{checkpoint} of {os.path.getmtime(checkpoint)}, settings {settings[:16]}'
        scores[name] = known.setdefault(run, {})
        model = init_model(cfg, checkpoint)
        cases = {CLEAN: None, **{str(case): case for case in corruptions if is_possible(model, case)}}
        for number, (key, case) in enumerate(cases.items(), start=1):
            if key not in scores[name]:
                scores[name][key] = {score: float(value) for score, value in evaluate(model, case).items()}
                part = file.with_suffix('.part')
                part.write_text(json.dumps(known, indent=1))
                part.replace(file)
            print(f'{name} [{number}/{len(cases)}] {key}: mIoU {scores[name][key]["mIoU"]:.2f}', flush=True)
    write_table(scores, corruptions, args.out_dir / 'robustness.md')
    draw_scores(scores, corruptions, args.out_dir / 'robustness.png')
    widest = max((cfg for cfg, _ in networks.values()), key=lambda cfg: len(cfg.test_dataloader.dataset.modalities))
    draw_corruptions(widest, args.out_dir / 'corruptions.png')
    print(f'table, plots and scores: {args.out_dir}')


if __name__ == '__main__':
    main()
