"""Remember which database was crawled last and which was built last, for commands that name none."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any, Literal

Kind = Literal["crawled", "built"]


def data_folder() -> Path:
    """The folder of databases and images: $RGC_DATA, else data/ here."""
    return Path(os.environ.get("RGC_DATA") or "data")


def packs() -> Path:
    """Where training keeps decoded images and captions of versions; all of it can be made again."""
    return data_folder() / "cache" / "packs"


def remember(kind: Kind, db: str | os.PathLike[str]) -> None:
    """Note that this database (a path or a URL) was crawled, or built, last."""
    folder = data_folder()
    folder.mkdir(parents=True, exist_ok=True)
    noted = {**_read(), kind: _stored(os.fspath(db))}
    # mkstemp makes the file 0600, and replace keeps that: a URL may hold a password.
    handle, temporary = tempfile.mkstemp(prefix=".recent.", dir=folder)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(noted, file)
        os.replace(temporary, folder / "recent.json")
    except BaseException:
        os.unlink(temporary)
        raise


def recall(kind: Kind) -> str | None:
    """The database that was crawled, or built, last; None where none was."""
    db = _read().get(kind)
    if not isinstance(db, str) or not db:
        return None
    return db if "://" in db else str(data_folder() / db)


def _stored(db: str) -> str:
    """A path as seen from the data folder where it lies in it (which then may move), else from the root."""
    if "://" in db:
        return db
    path = Path(db).absolute()
    folder = data_folder().absolute()
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)


def _read() -> dict[str, Any]:
    """What was noted; a missing or damaged file is as none, since any crawl or build writes it anew."""
    try:
        noted = json.loads((data_folder() / "recent.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}
