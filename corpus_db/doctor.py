"""What is missing on this machine, what it would serve, and the command that gets it. Nothing is changed."""

import importlib.metadata
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 11)
EXTRAS = {  # what each of pyproject.toml's is for
    "postgres": "a corpus in PostgreSQL (--db postgresql+psycopg://user@host/name)",
    "dicom": "DICOM files packed as JPEG lossless, JPEG-LS or 12-bit JPEG",
    "parquet": "exports as Parquet and Croissant",
    "readers": "reading exports back",
    "browse": "looking at a corpus in a browser",
    "dev": "make test, make lint",
}
# GB: `make rgc` of the sample, measured; 59,000 images of 52 kB (rgc/crawl.py) and their database, which the sample's
# 11 kB a pair makes 0.7; their packs for training at 224 pixels in colour
SAMPLE, FULL_CRAWL, PACKS = 1, 4, 9
JAVA_SECONDS = 20


@dataclass(frozen=True)
class Finding:
    """One thing looked at: `missing` is needed and not there; a `note` is worth knowing and does not stop anything."""

    what: str
    state: Literal["ok", "missing", "note"]
    says: str
    serves: str
    get: str | None = None  # the command that gets it


def examine() -> list[Finding]:
    """Look at everything; takes a few seconds, most of them PyTorch's import."""
    return [finding for look in LOOKS for finding in look()]


def render(findings: list[Finding]) -> Iterator[str]:
    """Lines for people."""
    wide = max(len(finding.what) for finding in findings)
    for finding in findings:
        yield f"{finding.state:<7}  {finding.what:<{wide}}  {finding.says}"
        if finding.state != "ok":
            yield f"{'':<7}  {'':<{wide}}  for {finding.serves}" + (f"; get it: {finding.get}" if finding.get else "")
    lacking = [finding.what for finding in findings if finding.state == "missing"]
    yield f"needed and missing: {', '.join(lacking)}" if lacking else "all that is needed is here"


def _python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    fit = sys.version_info >= OLDEST and os.name == "posix"
    says = f"{version} on {sys.platform}" + ("" if fit else "; Python 3.11 or newer on Linux or macOS is needed")
    get = None if fit else "apt-get install python3-venv, then make install PYTHON=python3.11"
    yield Finding("Python", "ok" if fit else "missing", says, "everything", get)


def _packages() -> Iterator[Finding]:
    for extra, lines in _asked().items():
        bad = list(filter(None, map(_lack, lines)))
        what = f"extra {extra}" if extra else "packages"
        get = "rm -f .venv/.installed; make install"
        if extra:
            get = f"{shlex.quote(sys.executable)} -m pip install -e '{ROOT}[{extra}]'"
        state: Literal["ok", "missing", "note"] = "ok" if not bad else "note" if extra else "missing"
        serves = EXTRAS.get(extra, "more") if extra else "everything"
        yield Finding(what, state, "; ".join(bad) or _all_here(len(lines)), serves, get if bad else None)


def _all_here(count: int) -> str:
    return f"all {count} are here" if count != 1 else "it is here"


def _asked() -> dict[str, list[str]]:
    """The requirements by extra, "" being what everything needs: pyproject.toml's, else those of the installation."""
    try:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        return {"": project["dependencies"], **project["optional-dependencies"]}
    except OSError:
        pass
    found: dict[str, list[str]] = {"": []}
    for line in importlib.metadata.requires("rgc-vlt") or ():
        requirement, _, marker = line.partition(";")
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", marker)
        found.setdefault(extra[1] if extra else "", []).append(requirement.strip())
    return found


def _lack(requirement: str) -> str | None:
    """Why `name[extra]>=1.2` is not met; None where it is."""
    name, bound = re.fullmatch(r"([\w.-]+)(?:\[[^]]*\])?>=([\d.]+)", requirement.replace(" ", "")).groups()  # type: ignore[union-attr]
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return f"no {name}"
    return f"{name} {version}, {bound} is needed" if _numbers(version) < _numbers(bound) else None


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.match(r"\d+(\.\d+)*", version)[0].split(".")]  # type: ignore[index]


def _sqlite() -> Iterator[Finding]:
    try:
        with sqlite3.connect(":memory:") as connection:
            connection.execute("CREATE VIRTUAL TABLE words USING fts5(text)")
        yield Finding("SQLite", "ok", f"{sqlite3.sqlite_version}, with FTS5", "every corpus in a file")
    except sqlite3.Error as error:
        says = f"{sqlite3.sqlite_version}: {error}"
        yield Finding("SQLite", "missing", says, "every corpus in a file", "another Python, with SQLite's FTS5")


def _database() -> Iterator[Finding]:
    serves, make = "all that reads or trains on a corpus", "make rgc, or in ten minutes: python cli.py demo"
    try:
        from corpus_db import db, recent, stats
        from corpus_db.errors import UserError

        found = recent.recall("built") or recent.recall("crawled")
        if found is None:
            yield Finding("corpus", "note", f"none yet in {recent.data_folder()}", serves, make)
            return
        try:
            engine = db.open_readonly(found)
            versions = [one["name"] for one in stats.versions(engine)]
            engine.dispose()
        except UserError as error:  # says what to do about it: an older schema is migrated by the next build, say
            yield Finding("corpus", "note", str(error), serves)
            return
        held = f"versions {', '.join(versions[-3:])}" if versions else "no version yet: python cli.py build"
        yield Finding("corpus", "ok", f"{db.shown(db.parse_url(found))}, schema current, {held}", serves)
    except ImportError as error:  # told under packages
        yield Finding("corpus", "note", f"cannot be looked at: {error}", serves)


def _disk() -> Iterator[Finding]:
    folder = Path(os.environ.get("RGC_DATA") or "data").absolute()
    there = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(there).free / 1e9
    says = f"{free:,.0f} GB free at {there}; the sample takes {SAMPLE} GB, all of MedPix about {FULL_CRAWL} GB, "
    says += f"its packs for training at 224 pixels up to {PACKS} GB"
    state: Literal["ok", "missing", "note"] = "ok"
    if free < FULL_CRAWL + PACKS:
        state = "note" if free >= SAMPLE else "missing"
    serves = "a full crawl and its training" if state == "note" else "any corpus"
    yield Finding("disk", state, says, serves, None if state == "ok" else "free some space, or set RGC_DATA=FOLDER")


def _data() -> Iterator[Finding]:
    folder = Path(os.environ.get("RGC_DATA") or "data").absolute()
    there = next(place for place in (folder, *folder.parents) if place.exists())
    serves = "commands that crawl, import or build there"
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        yield Finding("data folder", "ok", f"{folder} can be written", serves)
    else:
        says = f"{folder}: {there} cannot be written" if there.is_dir() else f"{there}: no folder"
        yield Finding("data folder", "missing", says, serves, "set RGC_DATA=FOLDER to one that can be written")


def _card() -> Iterator[Finding]:
    serves = "training at the paper's size; a CPU trains the nano models"
    try:
        import torch
    except Exception as error:  # a broken installation raises OSError and others
        yield Finding("GPU", "note", f"PyTorch does not load: {error}", serves, "rm -f .venv/.installed; make install")
        return
    if torch.cuda.is_available():
        cards = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
        names = ", ".join(f"{card.name}, {card.total_memory / 1e9:.0f} GB" for card in cards)
        yield Finding("GPU", "ok", f"{names} (PyTorch {torch.__version__}, CUDA {torch.version.cuda})", serves)
        return
    says, get = f"none that PyTorch {torch.__version__} sees", None
    if shutil.which("nvidia-smi"):
        says += "; nvidia-smi is here, so a driver may be"
        get = f"{shlex.quote(sys.executable)} -m pip install --force-reinstall --no-deps torch (a build with CUDA)"
    yield Finding("GPU", "note", says, serves, get)


def _java() -> Iterator[Finding]:
    serves, get = "METEOR, one of the text scores; the others need none", "apt-get install default-jre-headless"
    java = shutil.which("java")
    if java is None:
        yield Finding("Java", "note", "none", serves, get)
        return
    try:  # macOS has a `java` that only says that there is none
        done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=JAVA_SECONDS)
        works, said = done.returncode == 0, (done.stderr or done.stdout).strip().partition("\n")[0]
    except (OSError, subprocess.TimeoutExpired) as error:
        works, said = False, str(error)
    yield Finding("Java", "ok" if works else "note", said or java, serves, None if works else get)


def _reading_of_text() -> Iterator[Finding]:
    yield Finding("OCR", "ok", "none is used: text burnt into images is suspected by its strokes, not read", "nothing")


def _contact() -> Iterator[Finding]:
    contact = os.environ.get("RGC_CONTACT")
    serves = "a public site, to write to you where the crawl is in its way"
    says, get = contact or "RGC_CONTACT is not set", None if contact else "export RGC_CONTACT=you@example.org"
    yield Finding("contact", "ok" if contact else "note", says, serves, get)


def _for_tests() -> Iterator[Finding]:
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
    get = None if chromium else "apt-get install chromium fonts-dejavu-core"
    yield Finding("Chromium", "ok" if chromium else "note", chromium or "none", "the tests of pages", get)
    places = [Path(place) for place in os.environ.get("PATH", "").split(os.pathsep) if place]
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    server = next((str(place) for place in places if (place / "initdb").is_file()), None)
    get = None if server else "apt-get install postgresql"
    serves = "the tests on PostgreSQL; a corpus there may be on another machine"
    yield Finding("PostgreSQL server", "ok" if server else "note", server or "none", serves, get)


LOOKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _python,
    _packages,
    _sqlite,
    _disk,
    _data,
    _database,
    _card,
    _java,
    _reading_of_text,
    _contact,
    _for_tests,
)
