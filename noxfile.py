"""Tests with several versions of the stack: `nox -l` lists the sessions, `nox -s torch21` runs one.

Arguments after `--` go to pytest: `nox -s newest -- -n 2 tests/test_exchange`.
"""

import nox

nox.needs_version = '>=2024.4.15'  # for nox.project
EXTRAS = ['networks', 'converters', 'rooms', 'app', 'deployment', 'docs', 'test']


def extras(*names: str) -> str:
    return f'.[{",".join(names)}]'


def run_tests(session: nox.Session) -> None:
    """Prints the installed versions and runs the tests."""
    session.run('python', '-m', 'pip', 'list')
    options = session.posargs or ['-n', 'auto', '--dist', 'worksteal']
    session.run('python', '-m', 'pytest', *options, env={'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''})


@nox.session(python='3.11')
def newest(session: nox.Session) -> None:
    """Both tasks with the newest torch, and the newest versions that the extras allow."""
    session.install('-e', extras('lite', 'translation', *EXTRAS))
    run_tests(session)


@nox.session(python='3.11')
def torch21(session: nox.Session) -> None:
    """Both tasks with the oldest torch, which installations with full mmcv 2.1 have."""
    torch = ['torch==2.1.*', 'torchvision==0.16.*', 'numpy==1.26.*']
    session.install('-e', extras('lite', 'translation', *EXTRAS), *torch)
    run_tests(session)


@nox.session(python='3.11')
def segmentation(session: nox.Session) -> None:
    """Without MMagic, and therefore with numpy 2."""
    session.install('-e', extras('lite', *EXTRAS))
    run_tests(session)


@nox.session(python='3.11')
def forks(session: nox.Session) -> None:
    """Segmentation with the maintained forks of OpenMMLab's packages, which have the same import names."""
    project = nox.project.load_toml('pyproject.toml')['project']
    groups = [project['dependencies'], *(project['optional-dependencies'][name] for name in EXTRAS)]
    others = [requirement for group in groups for requirement in group if not requirement.startswith('mm')]
    packages = [f'onedl-{name}' for name in ('mmengine', 'mmcv', 'mmsegmentation', 'mmpretrain')]
    session.install(*others, *packages)
    session.install('--no-deps', '-e', '.')  # its dependencies are the original packages
    run_tests(session)


@nox.session(python='3.11')
def lint(session: nox.Session) -> None:
    """`make lint` in this environment instead of .venv."""
    session.install('-e', extras('lite', 'test'))
    session.run('make', '--old-file=.venv/installed', 'lint', f'BIN={session.bin}', external=True)
