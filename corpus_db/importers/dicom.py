"""Read DICOM files: a folder of them (with zips, where it has some), a zip or tar, one file, or a DICOMDIR's.

An instance is a record, a study the case that its records join in, a frame an image. Nothing that names a patient is
kept: tags by an allow-list, the keys of studies, series, instances and patients hashed, and so are the names of files
and folders, which often are a patient's. Captions come from a CSV file beside the files, else from the text of the
study's structured reports.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from corpus_db.deidentify import deidentify
from corpus_db.errors import UserError
from corpus_db.importers import dicom_pixels
from corpus_db.importers.base import (
    ENCOUNTER,
    About,
    Bad,
    Files,
    Given,
    Media,
    Record,
    Trouble,
    folded,
    images_of,
    text,
)
from corpus_db.importers.dicom_tags import VOTING, Keys, kept, plane, regions, value_of
from corpus_db.importers.files import inside
from corpus_db.reasons import REASONS
from corpus_db.records import CaseRecord, ImageRecord
from corpus_db.store import BadImage
from corpus_db.text import storable

ABOUT = About("dicom", "none stated (the user's own files)", "none stated (the user's own files)", private=True)
_CAPTIONS = "captions.csv"
_ARCHIVES = (".zip", ".tar")
# what lies beside images on a disc and is none; anything else that is not DICOM is told
_OTHER = re.compile(
    r"(readme|licen[cs]e|lockfile|version)(\..*)?|thumbs\.db|.*\.(ds_store|txt|md|csv|json|xml|html?|css|js|in[if]|exe|dll|ico)"
)
_REPORTS = b"1.2.840.10008.5.1.4.1.1.88."  # SOP classes of structured reports
_DIRECTORY = "1.2.840.10008.1.3.10"
_ASIDE = ("HAS OBS CONTEXT", "HAS ACQ CONTEXT")  # who observed, where, with what
_DEEPEST = 32  # of a report's content


@dataclass(frozen=True)
class _Place:
    """A file, or a member of an archive."""

    file: str
    member: str | None = None

    def __str__(self) -> str:
        return self.file if self.member is None else f"{self.file}!/{self.member}"

    @property
    def expected(self) -> bool:
        """Whether it may be DICOM by its name."""
        return not _OTHER.fullmatch((self.member or self.file).rpartition("/")[2].lower())


def render(body: bytes, part: str | None) -> bytes:
    """The PNG file of a frame; the first frame is 1."""
    return dicom_pixels.picture(body, int(part or 1) - 1)


def records(files: Files) -> Iterator[Given]:
    """Each instance with its frames; UserError where there is no DICOM file at all."""
    keys = Keys.here()
    captions = _Captions(keys)
    yield from captions.read(files)
    captions.read_reports(files)
    seen: set[str] = set()
    found = False
    for place in _places(files):
        told = _given(files, place, keys, captions, seen) if isinstance(place, _Place) else _hidden(place, keys)
        if told is not None:
            found = True
            yield told
    if not found:
        raise UserError(f"{files.given}: no DICOM file here; give the folder, zip or DICOMDIR that holds them")
    yield from captions.unused()


def _hidden(trouble: Trouble, keys: Keys) -> Trouble:
    return replace(trouble, path=keys.of("file", trouble.path))


def _places(files: Files) -> Iterator[_Place | Trouble]:
    if files.given.is_dir():
        for name in files.matching("**/*"):
            yield from _inside(files, name)
    elif re.match(r"DICOMDIR(?!.*\.(zip|tar)$)", files.given.name, re.I):
        yield from _referenced(files)
    else:
        yield from _inside(files, files.given.name)


def _inside(files: Files, name: str) -> Iterator[_Place | Trouble]:
    if not name.lower().endswith(_ARCHIVES):
        yield _Place(name)
        return
    try:
        for member, times in Counter(files.members(name)).items():
            if member.lower().endswith(_ARCHIVES):
                yield Trouble(f"{name}!/{member}", "broken_archive", "in another archive: unpack that one first")
            elif times == 1:
                yield _Place(name, member)
            else:  # which one the name means is not to be told
                yield Trouble(f"{name}!/{member}", "named_twice")
    except BadImage as bad:
        yield Trouble(name, bad.reason)
    except UserError:
        yield Trouble(name, "path_traversal")


def _referenced(files: Files) -> Iterator[_Place | Trouble]:
    """The files that a DICOMDIR names."""
    name = files.given.name
    try:
        items = value_of(dicom_pixels.read(files.content(name)), "DirectoryRecordSequence") or ()
        named = [value for item in items if (value := value_of(item, "ReferencedFileID"))]
    except BadImage as bad:
        raise UserError(f"{files.given}: not a DICOMDIR: {REASONS[bad.reason].says}") from None
    for parts in named:
        path = str(parts) if isinstance(parts, str) else "/".join(map(str, parts))
        try:
            there = [each for each in (path, path.lower()) if inside(files.root, each).is_file()]
        except (UserError, OSError, ValueError):
            yield Trouble(path, "path_traversal")
            continue
        yield _Place(there[0]) if there else Trouble(path, "missing_file")


def _given(files: Files, place: _Place, keys: Keys, captions: "_Captions", seen: set[str]) -> Given | None:
    """A file's record; None for what is no image and need not be told."""
    hidden = keys.of("file", place)
    expected = place.expected
    try:
        body = files.content(place.file, place.member)
        expected |= body[128:132] == b"DICM"
        file = dicom_pixels.read(body)
        if _uid(getattr(file, "file_meta", None), "MediaStorageSOPClassUID") == _DIRECTORY:
            return None
        report = _report(file)
        count = 0 if report else dicom_pixels.frames(file)
    except BadImage as bad:
        return Trouble(hidden, bad.reason) if expected else None
    uid = _uid(file, "SOPInstanceUID")
    instance = keys.of("instance", uid or place)
    if instance in seen:  # another file under the same UID: its own picture, or a copy that the build will know
        instance = keys.of("instance", f"{uid}\0{place}")
    seen.add(instance)
    study = _uid(file, "StudyInstanceUID")
    tags = kept(file)
    parts = [None] if count == 1 else [str(number + 1) for number in range(count)]
    media = [
        Media(key, key, place.file, place.member, part, place=hidden)
        for part, key in ((part, instance if part is None else f"{instance}-{part}") for part in parts)
    ]
    said = {
        "study": keys.of("study", study) if study else instance,
        "series": _key(keys, "series", _uid(file, "SeriesInstanceUID")),
        "patient": _key(keys, "patient", _patient(file)),
        "tags": tags,
        "plane": plane(tags.get("ImageOrientationPatient")),
        "regions": regions(file),
        "caption": None if report else captions.of(uid, place, study),
        "report": report,
        "images": [{"key": one.key, "path": one.path, "frame": int(one.part or 1)} for one in media],
    }
    return Record(instance, said, tuple(media))


def _uid(file: Any, keyword: str) -> str | None:
    return folded(value_of(file, keyword)) or None if file is not None else None


def _key(keys: Keys, kind: str, value: str | None) -> str | None:
    return keys.of(kind, value) if value else None


def _patient(file: Dataset) -> str | None:
    number = _uid(file, "PatientID")
    return f"{_uid(file, 'IssuerOfPatientID') or ''}\0{number}" if number else None


def _report(file: Dataset) -> str | None:
    """The text of a structured report, without names and dates."""
    if not (_uid(file, "SOPClassUID") or "").startswith(_REPORTS.decode()):
        return None
    said = "\n".join(_said(file, 0)).strip()
    return deidentify(storable(said)).text or None


def _said(item: Dataset, depth: int) -> Iterator[str]:
    for content in (value_of(item, "ContentSequence") or ()) if depth < _DEEPEST else ():
        if _uid(content, "RelationshipType") in _ASIDE:
            continue
        if _uid(content, "ValueType") == "TEXT" and (words := value_of(content, "TextValue")):
            yield str(words).strip()
        yield from _said(content, depth + 1)


class _Captions:
    """What is said of images: by instance, by file or by study, in a CSV file; by study, in reports."""

    _COLUMNS = (("instance", "SOPInstanceUID"), ("file", "file"), ("study", "StudyInstanceUID"))

    def __init__(self, keys: Keys):
        self._keys = keys
        self._told: dict[str, tuple[str, str]] = {}  # key -> (its place, caption)
        self._reports: dict[str, str] = {}
        self._used: set[str] = set()

    def read(self, files: Files) -> Iterator[Trouble]:
        """Read the CSV file beside the images: a column `caption`, and one that says of which."""
        for name in files.matching(_CAPTIONS):
            for number, row in files.rows(name):
                if isinstance(row, Bad):
                    yield Trouble(f"{name}:{number}", *row)
                    continue
                said = {column.strip().lower(): value for column, value in row.items()}
                if not ("caption" in said and any(c.lower() in said for _, c in self._COLUMNS)):
                    columns = ", ".join(column for _, column in self._COLUMNS)
                    raise UserError(f"{files.root / name}: needs a column caption, and one or more of {columns}")
                caption = text(said, "caption")
                named = ((kind, text(said, column.lower())) for kind, column in self._COLUMNS)
                kind, value = next(((kind, value) for kind, value in named if value), ("", None))
                if caption is None or value is None:
                    yield Trouble(f"{name}:{number}", "bad_row", "of which image" if caption else "caption")
                    continue
                self._told[self._keys.of(kind, value)] = f"{name}:{number}", deidentify(storable(caption)).text

    def read_reports(self, files: Files) -> None:
        """Read the reports; of other files, no more than the first bytes."""
        for place in _places(files):
            if isinstance(place, _Place) and place.expected and _is_report(files, place):
                try:
                    file = dicom_pixels.read(files.content(place.file, place.member))
                except BadImage:
                    continue  # told when its turn comes
                study, report = _uid(file, "StudyInstanceUID"), _report(file)
                if study and report:
                    key = self._keys.of("study", study)
                    self._reports[key] = f"{self._reports[key]}\n{report}" if key in self._reports else report

    def of(self, uid: str | None, place: _Place, study: str | None) -> str | None:
        """The caption of an instance: the nearest that is said of it."""
        study_key = _key(self._keys, "study", study)
        file_keys = [self._keys.of("file", value) for value in (place, place.member or place.file)]
        for key in (_key(self._keys, "instance", uid), *file_keys, study_key):
            if key in self._told:
                self._used.add(key)
                return self._told[key][1]
        return self._reports.get(study_key or "")

    def unused(self) -> Iterator[Trouble]:
        """Rows of files that are not here."""
        yield from (Trouble(place, "missing_file") for key, (place, _) in self._told.items() if key not in self._used)


def _is_report(files: Files, place: _Place) -> bool:
    try:
        head = files.content(place.file, place.member, head=1024)
    except BadImage:
        return False
    return head[128:132] == b"DICM" and _REPORTS in head


def read(kind: str, body: object) -> CaseRecord | None:
    """The `Reader` of these records."""
    if kind != ENCOUNTER or not isinstance(body, dict) or not (study := text(body, "study")):
        return None
    tags = body["tags"] if isinstance(body.get("tags"), dict) else {}
    rows = images_of(body)
    votes = {name: str(tags[name]) for name in VOTING if name in tags}
    return CaseRecord(
        key=study,
        exam=text(tags, "StudyDescription"),
        findings=text(body, "report"),
        age=text(tags, "PatientAge"),
        sex=text(tags, "PatientSex"),
        patient_key=text(body, "patient"),
        images=tuple(
            ImageRecord(
                key=str(row["key"]),
                case_key=study,
                name=str(row["key"]),
                url=text(row, "path"),
                caption=text(body, "caption"),
                modality=None,  # its tag votes
                plane=text(body, "plane"),
                dicom=votes,
            )
            for row in rows
        ),
    )


def names(path: Path) -> dict[str, str]:
    """Which file stands behind a place in the ledger: a table that is made again where salt and files are, not kept."""
    keys = Keys.here()
    places = (place if isinstance(place, _Place) else place.path for place in _places(Files(path)))
    return {keys.of("file", place): str(place) for place in places}


if __name__ == "__main__":  # python -m corpus_db.importers.dicom PATH: "place, tab, file", for whoever looks for one
    for place, name in names(Path(sys.argv[1])).items():
        print(f"{place}\t{name}")
