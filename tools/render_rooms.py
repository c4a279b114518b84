"""Renders furnished rooms and writes them in the layouts of NYUDv2 and Taskonomy."""

import argparse

from rooms import render


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('out', help='output folder')
    parser.add_argument('--train', type=int, default=200, help='number of rooms for training')
    parser.add_argument('--val', type=int, default=40, help='number of rooms for validation')
    parser.add_argument(
        '--size', type=int, nargs=2, default=(160, 120), metavar=('WIDTH', 'HEIGHT'), help='image size in pixels'
    )
    parser.add_argument('--seed', type=int, default=0, help='random seed of the rooms')
    parser.add_argument('--workers', type=int, default=2, help='number of processes')
    args = parser.parse_args()
    try:
        summary = render(args.out, args.train, args.val, args.size, args.seed, args.workers)
    except (ValueError, OSError) as error:
        raise SystemExit(f'render_rooms.py: {error}') from None

    if summary['reused']:
        print('The data set already exists: nothing was rendered.')
    print(f'{args.train} rooms for training and {args.val} for validation in {args.out}:')
    print('  nyudv2/     rgb, depth, normal, reshading, masks; train.txt, val.txt')
    print('  taskonomy/  ten modalities; train_domain.txt, test_domain.txt')
    print('  overview.png')
    print('  rooms.json  share of each class:', ', '.join(f'{name} {x:.1%}' for name, x in summary['pixels'].items()))


if __name__ == '__main__':
    main()
