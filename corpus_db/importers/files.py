"""A source's files, which strangers packed: read below one folder alone, in parts, with limits."""

import codecs
import csv
import gzip
import hashlib
import io
import json
import math
import os
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import IO, Any, NamedTuple

from corpus_db.errors import UserError
from corpus_db.store import MAX_BYTES, BadImage, leads_out

MAX_DATA_BYTES = 2 * 2**30  # of a data file that is read whole, unpacked
_READING = threading.Lock()
LONGEST_LINE = 16 * 2**20  # characters
DEEPEST = 64  # lists and objects in one another: what walks a record later has no more room than Python's stack
csv.field_size_limit(LONGEST_LINE)


class Bad(NamedTuple):
    """Why a row cannot be taken: a key of reasons.REASONS, and the field or the like."""

    reason: str
    detail: str | None = None


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
        body = self.read(name)
        try:
            return parse_json(body.decode(_encoding(body)))
        except ValueError as error:
            raise UserError(f"{self.root / name}: not JSON ({error}); fetch it anew") from None

    def lines(self, name: str) -> Iterator[tuple[int, str | Bad]]:
        """(number, line) of a text file, without its end; Bad for one that is no UTF-8 or too long."""
        with self.open(name) as file:
            for number, line in enumerate(_capped(file), 1):
                if number == 1 and line and _encoding(line) != _UTF_8:
                    raise UserError(f"{self.root / name}: UTF-16; save it as UTF-8")
                try:
                    yield number, Bad("too_large") if line is None else line.decode(_UTF_8 if number == 1 else "utf-8")
                except UnicodeDecodeError:
                    yield number, Bad("bad_encoding")

    def json_lines(self, name: str) -> Iterator[tuple[int, dict[str, Any] | Bad]]:
        """(number, object) of a file with one JSON object a line; Bad for a line that is none."""
        for number, line in self.lines(name):
            if isinstance(line, Bad):
                yield number, line
            elif line.strip():
                yield number, _object(line)

    def rows(self, name: str, delimiter: str = ",") -> Iterator[tuple[int, dict[str, str] | Bad]]:
        """(line number, row by column) of a CSV file with a header; Bad for a row that does not fit it or is no UTF-8.

        UTF-16 that says so is read, too, and so is a file whose header has no `delimiter` but another usual one.
        """
        with self.open(name) as file:
            encoding = _encoding(file.peek(2))  # type: ignore[attr-defined]
            errors = "surrogateescape" if encoding == _UTF_8 else "replace"
            text = io.TextIOWrapper(file, encoding=encoding, errors=errors, newline="")
            header_line = text.readline(LONGEST_LINE)
            quotes = _Quotes(chain([header_line] if header_line else [], text))
            reader = csv.reader(quotes, delimiter=_delimiter(header_line, delimiter))
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
                    yield (first, Bad("bad_row", "a quote that never ends")) if swallowed else last
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

    def content(self, name: str, member: str | None = None, head: int | None = None) -> bytes:
        """The bytes of a small file or of an archive's member, or the first of them; BadImage tells why not."""
        return image_bytes(self.root, name, member, head)

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


def _row(header: list[str], fields: list[str]) -> dict[str, str] | Bad:
    """Fields by column."""
    if len(fields) != len(header):
        return Bad("wrong_width", f"{len(fields)} instead of {len(header)}")
    for name, field_ in zip(header, fields, strict=True):
        if any("\udc80" <= c <= "\udcff" for c in field_):
            return Bad("bad_encoding", f"column {name}")
    return dict(zip(header, fields, strict=True))


_UTF_8 = "utf-8-sig"


def _encoding(head: bytes) -> str:
    """Of a file that begins so."""
    return "utf-16" if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else _UTF_8


def _delimiter(header: str, expected: str) -> str:
    """What parts the columns of a table: what is expected, or where its header has none of that, what it has."""
    return max((expected, ",", ";", "\t"), key=lambda one: (one == expected and one in header, header.count(one)))


def parse_json(said: str) -> Any:
    """JSON with null for NaN and what is infinite (1e999), which no database takes; ValueError for what is none."""
    try:
        found = json.loads(said, parse_constant=_nothing, parse_float=_finite)
    except RecursionError:
        raise ValueError(f"nested more than {DEEPEST} deep") from None
    if said.count("[") + said.count("{") > DEEPEST and _deeper(found, DEEPEST):
        raise ValueError(f"nested more than {DEEPEST} deep")
    return found


def _nothing(_: str) -> None:
    """In place of NaN and Infinity, which are Python's and not JSON's."""


def _finite(said: str) -> float | None:
    return value if math.isfinite(value := float(said)) else None


def _deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    return levels == 0 or any(
        _deeper(one, levels - 1) for one in (value.values() if isinstance(value, dict) else value)
    )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or holds NUL
        return False


def _object(line: str) -> dict[str, Any] | Bad:
    try:
        found = parse_json(line)
    except json.JSONDecodeError:
        return Bad("not_an_object", "not JSON")
    except ValueError as error:
        return Bad("not_an_object", str(error))
    return found if isinstance(found, dict) else Bad("not_an_object")


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
    if leads_out(name) or "\\" in name or not f"{os.path.realpath(path)}/".startswith(_real(root)):
        raise UserError(f"{name!r}: leads out of {root}")
    return path


@lru_cache(4)
def _real(root: Path) -> str:
    return os.path.realpath(root).rstrip("/") + "/"


def stamp(root: Path, name: str) -> str | None:
    """What changes when a file does: its size and time; None where it is not there."""
    try:
        found = os.stat(root / name)
    except (OSError, ValueError):
        return None
    return f"{found.st_size}-{found.st_mtime_ns}"


def image_bytes(root: Path, name: str, member: str | None = None, head: int | None = None) -> bytes:
    """The bytes of an image, or of one in an archive, or the first of them; BadImage tells why not."""
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
            with open(path, "rb") as file:
                return file.read(head)
        return _member(path, member, head)
    except (FileNotFoundError, KeyError, IsADirectoryError):
        raise BadImage("missing_file") from None
    except OSError:
        raise BadImage("unreadable_file") from None


def _member(path: Path, member: str, head: int | None) -> bytes:
    if leads_out(member) or "\\" in member:
        raise BadImage("path_traversal")
    try:
        # an archive is one open file with one place in it
        with _READING, _tar_member(path, member) if path.suffix == ".tar" else _zip_member(path, member) as file:
            body = file.read(MAX_BYTES + 1 if head is None else head)  # the size that the archive tells may be a lie
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
