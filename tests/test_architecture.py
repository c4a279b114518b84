"""Dependencies point one way, and segmentation never imports mmagic."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / 'cen_mm'
# Parts that a part may import, besides itself, the registry and compat.
ALLOWED = {
    'exchange': set(),
    'datasets': set(),
    'rooms': {'datasets'},
    'segmentation': {'exchange'},
    'translation': {'exchange'},
    'engine': {'exchange'},
    'apis': {'exchange', 'segmentation', 'translation', 'datasets', 'engine'},
}
PARTS = [path for path in sorted(PACKAGE.iterdir()) if (path / '__init__.py').exists()]


def imports_of(path: Path) -> set[str]:
    """Full names of the modules that a file imports."""
    package = ['cen_mm', *path.relative_to(PACKAGE).parent.parts]
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            names.add('.'.join([*base, *([node.module] if node.module else [])]))
    return names


@pytest.mark.parametrize('part', PARTS, ids=lambda path: path.name)
def test_dependencies_point_one_way(part):
    for path in part.rglob('*.py'):
        names = imports_of(path)
        ours = {name.split('.')[1] for name in names if name.startswith('cen_mm.')} - {'registry', 'compat', part.name}
        assert ours <= ALLOWED[part.name], path
        others = {name.split('.')[0] for name in names if not name.startswith('cen_mm')}
        assert part.name == 'translation' or 'mmagic' not in others, path
        if part.name == 'exchange':
            assert others <= {'torch', *sys.stdlib_module_names}, path


def test_segmentation_runs_without_mmagic_and_the_package_imports_nothing_heavy():
    code = """
import sys
import cen_mm
assert not {'mmagic', 'mmseg', 'matplotlib'} & set(sys.modules), 'import cen_mm is heavy'
import cen_mm.apis, cen_mm.datasets, cen_mm.engine, cen_mm.rooms, cen_mm.segmentation
assert 'mmagic' not in sys.modules
"""
    subprocess.run([sys.executable, '-c', code], check=True)
