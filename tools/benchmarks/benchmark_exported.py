"""Compares the speed of exported models with PyTorch on the CPU, in alternation, with the same number of threads.

python tools/benchmarks/benchmark_exported.py CONFIG CHECKPOINT FILE [FILE ..] --shape 480 640

The files are those of tools/deployment/export.py, without --preprocess. It prints the medians.
"""

import argparse
import statistics

import torch
from measuring import seconds
from mmengine.config import Config
from mmengine.utils import track_iter_progress
from prettytable import PrettyTable

from cen_mm import config_argument
from cen_mm.apis import ExportedModel, init_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=config_argument, help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('files', nargs='+', help='exported models')
    parser.add_argument('--shape', type=int, nargs=2, default=(480, 640), help='height and width (default: 480 640)')
    parser.add_argument('--batch', type=int, default=1, help='number of images')
    parser.add_argument('--runs', type=int, default=5, help='number of measured runs, after one that is not measured')
    parser.add_argument('--threads', type=int, default=1, help='threads of each program')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = init_model(Config.fromfile(args.config), args.checkpoint, device='cpu')
    channels = getattr(model.data_preprocessor, 'channels', {})  # translation: always 3
    images = {name: torch.randn(args.batch, channels.get(name, 3), *args.shape) for name in model.available_modalities}
    inputs = torch.cat(list(images.values()), dim=1)

    def run_pytorch() -> None:
        with torch.no_grad():
            model.encode_decode(inputs, []) if hasattr(model, 'encode_decode') else model.branches(inputs)

    steps = {'PyTorch': run_pytorch}
    for file in args.files:
        exported = ExportedModel(file)
        steps[file] = lambda exported=exported: exported(images)
    times = {name: [] for name in steps}
    for run in track_iter_progress(range(args.runs + 1)):
        for name, step in steps.items():
            measured = seconds(step, 'cpu')
            if run:  # the first run allocates memory
                times[name].append(measured)
    table = PrettyTable(['program', 'ms', 'ms of processor time'], align='r')
    for name, pairs in times.items():
        table.add_row([name, *(f'{1000 * statistics.median(values):.0f}' for values in zip(*pairs))])
    print(f'\n{table}')


if __name__ == '__main__':
    main()
