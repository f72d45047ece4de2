"""The folder of an export: each file whole or not there, checksummed, and kept by the command that goes on."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from corpus_db.errors import UserError
from corpus_db.files import sync
from corpus_db.sql_output import shown
from corpus_db.store import TEMPORARY

EXPORT, SUMS, JOURNAL = "export.json", "SHA256SUMS", "unfinished.jsonl"
_BLOCK = 1 << 20


@dataclass(frozen=True)
class File:
    """A finished file."""

    path: str  # below the folder, with forward slashes
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Part:
    """A file to be written. `write` gets the path of a file that does not exist, and makes it whole."""

    path: str
    write: Callable[[Path], None]
    sha256: str | None = None  # where the content is known beforehand: no journal is needed to know it as finished
    sync: bool = True  # not for thousands of small files: `finish` syncs them all


@dataclass
class Folder:
    """An export under way."""

    path: Path
    files: dict[str, File] = field(default_factory=dict)  # finished by this run, or found finished
    kept: int = 0  # of those, the ones that an earlier run had finished
    mended: int = 0  # those that it had finished and that were no longer as they were
    _known: dict[str, File] = field(default_factory=dict)  # what an earlier run says it finished

    def put(self, part: Part) -> File:
        """Write a file, unless an earlier run did and it is still as it was."""
        target = self.path / part.path
        known = self._known.get(part.path)
        expected = part.sha256 or (known.sha256 if known else None)
        if expected and target.is_file() and file_sha256(target) == expected:
            self.kept += 1
            file = File(part.path, target.stat().st_size, expected)
        else:
            self.mended += known is not None
            file = self._write(part, target)
        self.files[part.path] = file
        if known != file and not part.sha256:
            self._note(asdict(file))
        return file

    def finish(self, summary: Mapping[str, Any]) -> list[File]:
        """Write SHA256SUMS and export.json, the mark of a whole export; gives all files but those two."""
        os.sync()  # what export.json will vouch for
        files = sorted(self.files.values(), key=lambda file: file.path)
        described = {**summary, "files": [asdict(file) for file in files]}
        export = (json.dumps(described, indent=1, ensure_ascii=True) + "\n").encode()
        sums = {file.path: file.sha256 for file in files} | {EXPORT: hashlib.sha256(export).hexdigest()}
        listed = "".join(f"{digest}  {path}\n" for path, digest in sorted(sums.items()))
        for name, body in ((SUMS, listed.encode()), (EXPORT, export)):
            self._write(whole(name, body), self.path / name)
        (self.path / JOURNAL).unlink(missing_ok=True)
        return files

    def _write(self, part: Part, target: Path) -> File:
        temporary = target.with_name(target.name + TEMPORARY)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            part.write(temporary)
            digest, size = part.sha256 or file_sha256(temporary), temporary.stat().st_size
            if part.sync:
                sync(temporary)
            os.replace(temporary, target)
        except OSError as error:
            raise _stopped(target, error) from error
        finally:
            temporary.unlink(missing_ok=True)
        return File(part.path, size, digest)

    def _note(self, line: Mapping[str, Any]) -> None:
        try:
            with open(self.path / JOURNAL, "a", encoding="ascii") as journal:
                journal.write(json.dumps(line) + "\n")
                journal.flush()
                os.fsync(journal.fileno())
        except OSError as error:
            raise _stopped(self.path / JOURNAL, error) from error


@contextlib.contextmanager
def opened(path: Path, identity: Mapping[str, Any]) -> Iterator[Folder]:
    """The folder of the export that `identity` names (values that JSON can hold), new or to be gone on with.

    UserError where the folder holds anything else, cannot be written, or another export is writing to it.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise UserError(f"{path}: cannot write here ({error.strerror}); give another folder with -o") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{path}: another export is writing to it; wait for it to end") from None
        folder = Folder(path)
        folder._known = _finished(path, identity)
        _sweep(path)
        _start_journal(folder, identity)
        yield folder
    finally:
        os.close(handle)


def whole(path: str, body: bytes) -> Part:
    """A part of known content."""

    def write(target: Path) -> None:
        target.write_bytes(body)

    return Part(path, write, hashlib.sha256(body).hexdigest())


def file_sha256(path: Path) -> str:
    """The hash of a file's bytes, in hex digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _finished(path: Path, identity: Mapping[str, Any]) -> dict[str, File]:
    """What an earlier run of the same export finished."""
    held, files = _held(path)
    if held is None:
        if any(not entry.name.endswith(TEMPORARY) for entry in path.iterdir()):
            raise UserError(f"{path}: not empty, and holds no export; give another folder with -o")
        return {}
    differing = [name for name, value in identity.items() if held.get(name) != value]
    if differing:
        told = shown(", ".join(f"{name}: {held.get(name)}" for name in differing))
        raise UserError(f"{path}: holds another export ({told}); give another folder with -o, or remove that one")
    return files


def _held(path: Path) -> tuple[dict[str, Any] | None, dict[str, File]]:
    """The identity of the export that a folder holds, and its finished files; None where it holds none."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        export = json.loads((path / EXPORT).read_text(encoding="ascii"))
        return export, {file["path"]: File(**file) for file in export["files"]}
    lines = []
    with contextlib.suppress(OSError, ValueError):  # a kill may have cut the last line
        for line in (path / JOURNAL).read_text(encoding="ascii").splitlines():
            lines.append(json.loads(line))
    if not lines or not all(isinstance(line, dict) for line in lines):
        return None, {}
    with contextlib.suppress(TypeError):
        return lines[0], {line["path"]: File(**line) for line in lines[1:] if "path" in line}
    return None, {}


def _start_journal(folder: Folder, identity: Mapping[str, Any]) -> None:
    lines = [identity, *(asdict(file) for file in folder._known.values())]
    body = "".join(json.dumps(line) + "\n" for line in lines).encode()
    folder._write(whole(JOURNAL, body), folder.path / JOURNAL)


def _sweep(path: Path) -> None:
    """Remove what a killed run left half-written."""
    for leftover in list(path.rglob(f"*{TEMPORARY}")):
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def _stopped(target: Path, error: OSError) -> UserError:
    reason = error.strerror or str(error)
    return UserError(
        f"{target}: cannot be written ({reason}); the files finished so far stay: "
        "free some space or mend it, then run the same command again"
    )
