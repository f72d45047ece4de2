import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
ASKED = [*PROJECT["dependencies"], *(line for lines in EXTRAS.values() for line in lines)]
LINES = [
    line
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
PINS = {canonicalize_name(requirement.name): requirement for requirement in map(Requirement, LINES)}


def test_every_line_is_one_exact_public_release():
    for line in LINES:
        assert re.fullmatch(r'[a-z0-9-]+==[0-9][0-9a-z.]*( ; python_version < "3\.\d+")?', line), line
    assert len(PINS) == len(LINES)
    assert sorted(PINS) == list(PINS)


def test_no_package_is_of_one_platform_only():
    foreign = re.compile(r"nvidia-|cuda-|triton|pywin|colorama|intel-|mkl|rocm|pytorch-triton|uvloop|appnope")
    assert not [name for name in PINS if foreign.match(name)]


@pytest.mark.parametrize("line", ASKED)
def test_what_the_project_asks_for_is_pinned_within_its_bounds(line):
    asked = Requirement(line)
    (pin,) = PINS[canonicalize_name(asked.name)].specifier
    assert Version(pin.version) in asked.specifier


@pytest.mark.parametrize("line", ASKED)
def test_the_project_names_a_lower_bound_and_no_upper_one(line):
    assert [bound.operator for bound in Requirement(line).specifier] == [">="]


def test_torch_and_torchvision_are_the_pair_that_imports_on_cpu_and_cuda():
    assert {"torch==2.14.1", "torchvision==0.29.1"} <= set(LINES)
