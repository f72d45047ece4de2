"""Print requirements.lock: what pip would install for pyproject.toml, without what only some platforms need.

python tools/lock.py REPORT.json > requirements.lock      (`make lock` makes the report with pip and runs this)
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PLATFORMS = (
    {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "x86_64"},
    {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "aarch64"},
    {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix", "platform_machine": "arm64"},
)
HEADER = "# Exact pins of what was tested, for every platform. Made by `make lock`; packages that one platform alone\n"
HEADER += "# needs (CUDA's libraries on Linux, say) follow from these and are left to pip.\n"
Metadata = dict[str, dict[str, Any]]


def requirements() -> list[str]:
    """The project's own requirements, those of every extra among them."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]


def closure(metadata: Metadata, platform: dict[str, str], python: str) -> set[str]:
    """The names of all packages that the requirements pull in on one platform and Python."""
    environment: dict[str, Any] = {
        **default_environment(),
        **platform,
        "python_version": python,
        "python_full_version": f"{python}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    seen: set[tuple[str, str]] = set()
    queue = _needed(requirements(), environment, "")
    while queue:
        name, extra = key = queue.pop()
        if key in seen:
            continue
        seen.add(key)
        # What another platform alone needs was not resolved here, and is not pinned either.
        queue += _needed(metadata.get(name, {}).get("requires_dist") or [], environment, extra)
    return {name for name, _ in seen}


def _needed(lines: Iterable[str], environment: dict[str, Any], extra: str) -> list[tuple[str, str]]:
    """The (name, extra) pairs that these requirement lines ask for, extra "" being the package itself."""
    wanted: list[tuple[str, str]] = []
    for requirement in map(Requirement, lines):
        if requirement.marker is None or requirement.marker.evaluate({**environment, "extra": extra}):
            name = canonicalize_name(requirement.name)
            wanted += [(name, ""), *((name, e) for e in requirement.extras)]
    return wanted


def pins(metadata: Metadata) -> list[str]:
    """A line a package that every platform needs; what newer Pythons do without says so in a marker."""
    lines = []
    common = {python: set.intersection(*(closure(metadata, p, python) for p in PLATFORMS)) for python in PYTHONS}
    for name in sorted(metadata):
        needing = [python for python in PYTHONS if name in common[python]]
        if not needing:
            continue
        # A local label (+cpu) names a build of this machine's index, not a release that others can install.
        pin = f"{name}=={metadata[name]['version'].partition('+')[0]}"
        if needing != list(PYTHONS):
            first_without = PYTHONS[len(needing)] if needing == list(PYTHONS[: len(needing)]) else None
            if first_without is None:
                raise SystemExit(
                    f"{name}: needed on Python {', '.join(needing)} only; teach tools/lock.py a marker for that"
                )
            pin += f' ; python_version < "{first_without}"'
        lines.append(pin)
    return lines


def main(report: str) -> None:
    """Read pip's report and print the lock."""
    installs = json.loads(Path(report).read_text(encoding="utf-8"))["install"]
    metadata: Metadata = {str(canonicalize_name(item["metadata"]["name"])): item["metadata"] for item in installs}
    sys.stdout.write(HEADER + "".join(f"{line}\n" for line in pins(metadata)))


if __name__ == "__main__":
    main(sys.argv[1])
