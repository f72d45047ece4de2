import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("rgc", "corpus_db", "vlt")
MAY_NOT = {
    "corpus_db": {"rgc", "vlt", "cli"},
    "rgc": {"vlt", "cli"},
    "vlt": {"rgc", "cli"},
}


def modules(package):
    """The dotted names of a package's modules; the migrations are scripts that Alembic runs."""
    files = sorted((ROOT / package).rglob("*.py"))
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files]
    return [name for name in names if "migrations" not in name]


def imported(file):
    """The top-level names that a file imports anywhere in it, in functions as well."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def loaded_after(names):
    """The top-level modules that a fresh interpreter holds after importing these."""
    code = f"import importlib, sys\nfor name in {names!r}: importlib.import_module(name)\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_file_imports_against_the_way_of_the_data(package):
    files = list((ROOT / package).rglob("*.py"))
    assert files
    wrong = {str(file.relative_to(ROOT)): found for file in files if (found := MAY_NOT[package] & set(imported(file)))}
    assert not wrong


def test_vlt_reaches_the_corpus_through_its_reader_alone():
    for file in (ROOT / "vlt").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert not [alias.name for alias in node.names if alias.name.startswith("corpus_db")], file
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("corpus_db"):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                assert all(f"{name}.".startswith("corpus_db.read.") for name in names), (file, names)


def test_all_of_rgc_loads_without_torch():
    loaded = loaded_after(modules("rgc"))
    assert "scrapy" in loaded
    assert not loaded & {"torch", "torchvision", "vlt", "cli"}


def test_all_of_vlt_loads_without_scrapy_or_sqlmodel():
    assert not loaded_after(modules("vlt")) & {"scrapy", "sqlmodel", "sqlalchemy", "rgc", "cli"}


def test_all_of_corpus_db_loads_alone():
    assert not loaded_after(modules("corpus_db")) & {"rgc", "vlt", "cli", "scrapy", "torch"}


def test_the_command_line_loads_nothing_heavy_before_a_command_runs():
    assert not loaded_after(["cli"]) & {"torch", "scrapy", "sqlalchemy", "sqlmodel", "numpy", "PIL"}
