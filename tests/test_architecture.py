"""Dependencies between subpackages have one direction, and segmentation never imports mmagic."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / 'cen_mm'
# Subpackages that each subpackage may import, besides itself, registry, compat and checkpoint.
ALLOWED = {
    'exchange': set(),
    'datasets': set(),
    'segmentation': {'exchange'},
    'translation': {'exchange'},
    'engine': {'exchange'},
    'apis': {'exchange', 'segmentation', 'translation', 'datasets', 'engine'},
}
TOOLS = {path.stem for path in (PACKAGE.parent / 'tools').rglob('*')}  # files and folders
SUBPACKAGES = [path for path in sorted(PACKAGE.iterdir()) if (path / '__init__.py').exists()]


def imports_of(path: Path) -> set[str]:
    """Returns the full names of the modules that a file imports."""
    package = ['cen_mm', *path.relative_to(PACKAGE).parent.parts]
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            module = '.'.join([*base, *([node.module] if node.module else [])])
            names |= {module, *(f'{module}.{alias.name}' for alias in node.names)}
    return names


@pytest.mark.parametrize('subpackage', SUBPACKAGES, ids=lambda path: path.name)
def test_dependencies_have_one_direction(subpackage):
    for path in subpackage.rglob('*.py'):
        names = imports_of(path)
        internal = {name.split('.')[1] for name in names if name.startswith('cen_mm.')} - {
            'registry',
            'compat',
            'checkpoint',
            subpackage.name,
        }
        assert internal <= ALLOWED[subpackage.name], path
        external = {name.split('.')[0] for name in names if not name.startswith('cen_mm')}
        assert external.isdisjoint(TOOLS), path
        assert subpackage.name == 'translation' or 'mmagic' not in external, path
        if subpackage.name == 'exchange':
            assert external <= {'torch', *sys.stdlib_module_names}, path


def test_import_is_light_and_segmentation_needs_no_mmagic():
    code = """
import sys
import cen_mm
assert not {'mmagic', 'mmseg', 'matplotlib'} & set(sys.modules), 'import cen_mm imports heavy packages'
import cen_mm.apis, cen_mm.datasets, cen_mm.engine, cen_mm.segmentation
assert 'mmagic' not in sys.modules
"""
    subprocess.run([sys.executable, '-c', code], check=True)
