"""A small sample, rendered once for all tests of the sample site."""

import json
from pathlib import Path

import pytest

from rgc.phantom import Recipe, generate
from rgc.phantom.plan import CasePlan, plan_sample

SMALL = Recipe(seed=3, cases=40)  # the cases of the fixture `small` are its plans


def read(folder: Path, name: str) -> list[dict]:
    return [json.loads(line) for line in (folder / name).read_text(encoding="utf-8").split("\n") if line]


@pytest.fixture(scope="session")
def small() -> list[CasePlan]:
    return plan_sample(SMALL)


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(SMALL, tmp_path_factory.mktemp("phantom") / "sample")


@pytest.fixture(scope="session")
def truth(sample: Path) -> list[dict]:
    return read(sample, "truth.jsonl")


@pytest.fixture(scope="session")
def encounters(sample: Path) -> list[dict]:
    return read(sample, "encounters.jsonl")
