"""CITATION.cff by the rules of version 1.2.0 that a person is likely to break, without the schema's validator."""

import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
WORK = {"title", "authors"}  # what the software and each reference must have


@pytest.fixture(scope="module")
def citation():
    return yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def test_the_citation_has_what_its_format_requires(citation):
    assert citation["cff-version"] == "1.2.0"
    assert citation.keys() >= WORK | {"message"}
    assert all(reference.keys() >= WORK | {"type"} for reference in citation["references"])


def test_every_author_is_a_person_or_an_entity(citation):
    works = [citation, *citation["references"]]
    assert all({"name"} == author.keys() or {"family-names"} <= author.keys() for w in works for author in w["authors"])


def test_the_citation_tells_the_version_and_licence_of_the_package(citation):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])


def test_the_changelog_begins_with_what_is_not_released_or_with_this_version(citation):
    heads = [line for line in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines() if line[:3] == "## "]
    assert heads[0] == "## [Unreleased]" or heads[0].startswith(f"## [{citation['version']}]")
