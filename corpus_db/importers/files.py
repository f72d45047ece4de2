"""A source's files, which strangers packed: read below one folder alone, in parts, with limits."""

import csv
import gzip
import hashlib
import io
import json
import os
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from corpus_db.errors import UserError
from corpus_db.store import MAX_BYTES, BadImage, leads_out

MAX_DATA_BYTES = 2 * 2**30  # of a data file that is read whole, unpacked
_READING = threading.Lock()
LONGEST_LINE = 16 * 2**20  # characters
csv.field_size_limit(LONGEST_LINE)


@dataclass
class Files:
    """The files below `root`, or the one file that was given; `used` are the data files that were read."""

    given: Path
    used: dict[str, None] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.given if self.given.is_dir() else self.given.parent

    def first(self, *names: str) -> str | None:
        """The first of some names under which there is a file."""
        return next((name for name in names if _is_file(self.root / name)), None)

    def need(self, what: str, *names: str) -> str:
        """The same; UserError where there is none."""
        found = self.first(*names)
        if found is None:
            raise UserError(
                f"{self.given}: no {' or '.join(names)} here; give the folder that {what} was unpacked into"
            )
        return found

    def matching(self, *patterns: str) -> list[str]:
        """The names of files that fit one of some glob patterns, sorted."""
        found = {path for pattern in patterns for path in self.root.glob(pattern) if path.is_file()}
        return sorted(path.relative_to(self.root).as_posix() for path in found)

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """A data file, unpacked where its name ends in .gz; UserError where it cannot be read."""
        self.used[name] = None
        path = inside(self.root, name)
        try:
            with gzip.open(path) if name.endswith(".gz") else open(path, "rb") as file:
                yield file  # type: ignore[misc]
        except (OSError, EOFError, gzip.BadGzipFile) as error:
            raise UserError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error

    def read(self, name: str) -> bytes:
        """All bytes of a data file."""
        with self.open(name) as file:
            body = file.read(MAX_DATA_BYTES + 1)
        if len(body) > MAX_DATA_BYTES:
            raise UserError(f"{self.root / name}: more than {MAX_DATA_BYTES:,} bytes")
        return body

    def json(self, name: str) -> Any:
        """A data file that is JSON."""
        try:
            return json.loads(self.read(name).decode("utf-8-sig"), parse_constant=_nothing)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{self.root / name}: not JSON ({error}); fetch it anew") from None

    def lines(self, name: str) -> Iterator[tuple[int, str | None]]:
        """(number, line) of a text file, without its end; None for one that is no UTF-8 or too long."""
        with self.open(name) as file:
            for number, line in enumerate(_capped(file), 1):
                try:
                    yield number, None if line is None else line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError:
                    yield number, None

    def json_lines(self, name: str) -> Iterator[tuple[int, dict[str, Any] | None]]:
        """(number, object) of a file with one JSON object a line; None for a line that is none."""
        for number, line in self.lines(name):
            if line is None or line.strip():
                yield number, None if line is None else _object(line)

    def rows(self, name: str, delimiter: str = ",") -> Iterator[tuple[int, dict[str, str] | None]]:
        """(line number, row by column) of a CSV file with a header; None for a row of too many or too few fields."""
        with self.open(name) as file:
            text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
            reader = csv.reader(quotes := _Quotes(text), delimiter=delimiter)
            try:
                header = next(reader, [])
                first, last = 0, None  # the last row waits, for what is told of it below
                begin = reader.line_num + 1
                for fields in reader:
                    if last is not None:
                        yield last
                    last = (reader.line_num, _row(header, fields)) if fields else None
                    first, begin = begin, reader.line_num + 1
                if last is not None:  # a quote that never ends makes one row of all that follows
                    swallowed = last[0] > first and quotes.count % 2
                    yield (first, None) if swallowed else last
            except csv.Error as error:
                raise UserError(f"{self.root / name}: line {reader.line_num}: not CSV ({error})") from error

    def members(self, name: str) -> list[str]:
        """The names of all but the folders in a zip or an unpacked tar; BadImage("broken_archive") where it is none."""
        path = inside(self.root, name)
        try:
            changed = path.stat().st_mtime_ns
            if path.suffix == ".tar":
                return [name for name, told in _tar(path, changed)[1].items() if not told.isdir()]
            return [told.filename for told in _zip(path, changed).infolist() if not told.is_dir()]
        except (OSError, zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, ValueError, RuntimeError):
            raise BadImage("broken_archive") from None

    def content(self, name: str, member: str | None = None) -> bytes:
        """The bytes of a small file, or of a member of an archive; BadImage tells why there are none."""
        return image_bytes(self.root, name, member)

    def sha256(self, name: str) -> str:
        """Of a data file as it lies there."""
        with open(inside(self.root, name), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


class _Quotes:
    """Lines, and how many quotes have been in them."""

    def __init__(self, lines: Iterable[str]):
        self.lines, self.count = lines, 0

    def __iter__(self) -> Iterator[str]:
        for line in self.lines:
            self.count += line.count('"')
            yield line


def _row(header: list[str], fields: list[str]) -> dict[str, str] | None:
    """Fields by column; None where they are too many or too few, or no UTF-8."""
    whole = len(fields) == len(header) and not any("\udc80" <= c <= "\udcff" for field in fields for c in field)
    return dict(zip(header, fields, strict=True)) if whole else None


def _nothing(_: str) -> None:
    """In place of NaN and Infinity, which are Python's and not JSON's."""


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or holds NUL
        return False


def _object(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line, parse_constant=_nothing)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _capped(file: IO[bytes]) -> Iterator[bytes | None]:
    """Lines without their ends; None for one longer than LONGEST_LINE."""
    while line := file.readline(LONGEST_LINE):
        if line.endswith(b"\n") or len(line) < LONGEST_LINE:
            yield line.rstrip(b"\r\n")
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(LONGEST_LINE)
        yield None


def inside(root: Path, name: str) -> Path:
    """A file's path; UserError for a name, or a link, that leads out of the folder."""
    path = root / name
    if leads_out(name) or "\\" in name or not path.resolve().is_relative_to(root.resolve()):
        raise UserError(f"{name!r}: leads out of {root}")
    return path


def stamp(root: Path, name: str) -> str | None:
    """What changes when a file does: its size and time; None where it is not there."""
    try:
        found = os.stat(root / name)
    except (OSError, ValueError):
        return None
    return f"{found.st_size}-{found.st_mtime_ns}"


def image_bytes(root: Path, name: str, member: str | None = None) -> bytes:
    """The bytes of an image, or of one in an archive; BadImage tells why there are none."""
    try:
        path = inside(root, name)
    except (UserError, ValueError, OSError):
        raise BadImage("path_traversal") from None
    try:
        if member is None:
            if not path.is_file():
                raise FileNotFoundError
            if path.stat().st_size > MAX_BYTES:
                raise BadImage("too_large")
            return path.read_bytes()
        return _member(path, member)
    except (FileNotFoundError, KeyError, IsADirectoryError):
        raise BadImage("missing_file") from None
    except OSError:
        raise BadImage("unreadable_file") from None


def _member(path: Path, member: str) -> bytes:
    if leads_out(member) or "\\" in member:
        raise BadImage("path_traversal")
    try:
        # an archive is one open file with one place in it
        with _READING, _tar_member(path, member) if path.suffix == ".tar" else _zip_member(path, member) as file:
            body = file.read(MAX_BYTES + 1)  # the size that the archive tells may be a lie
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError):
        raise BadImage("broken_archive") from None
    if len(body) > MAX_BYTES:
        raise BadImage("too_large")
    return body


def _zip_member(path: Path, member: str) -> IO[bytes]:
    archive = _zip(path, path.stat().st_mtime_ns)
    told = archive.getinfo(member)
    if told.flag_bits & 1:
        raise BadImage("encrypted")
    if told.file_size > MAX_BYTES:
        raise BadImage("too_large")
    return archive.open(told)


def _tar_member(path: Path, member: str) -> IO[bytes]:
    archive, members = _tar(path, path.stat().st_mtime_ns)
    told = members[member]
    if told.size > MAX_BYTES:
        raise BadImage("too_large")
    found = archive.extractfile(told) if told.isreg() else None  # a link could name anything
    if found is None:
        raise BadImage("path_traversal")
    return found


@lru_cache(4)
def _zip(path: Path, _changed: int) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


@lru_cache(4)
def _tar(path: Path, _changed: int) -> tuple[tarfile.TarFile, dict[str, tarfile.TarInfo]]:
    """An archive that is not packed, so that its members can be reached one by one, and they by name."""
    archive = tarfile.open(path, "r:")  # noqa: SIM115 - kept open by the cache
    members = {told.name: told for told in archive}
    with open(path, "rb") as file:  # tarfile takes a damaged header, or the end of the file, for the archive's end
        file.seek(archive.offset)
        if not (rest := file.read(1024)) or rest.strip(b"\0"):
            raise tarfile.ReadError("no end of the archive where its members end")
    return archive, members
