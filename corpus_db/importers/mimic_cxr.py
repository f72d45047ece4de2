"""Read MIMIC-CXR-JPG (Johnson et al., 2019, arXiv 1901.07042): chest radiographs with their reports, from PhysioNet.

As published: mimic-cxr-2.0.0-{split,metadata,chexpert,negbio}.csv.gz, files/p10/p10000032/s50414267/DICOM_ID.jpg, and
the reports of MIMIC-CXR: files/p10/p10000032/s50414267.txt, or mimic-cxr-reports.zip as it is. The case is the study.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from corpus_db.errors import UserError
from corpus_db.importers import report_sections
from corpus_db.importers.base import ENCOUNTER, About, Bad, Files, Given, Media, Record, Trouble, images_of, text
from corpus_db.records import CaseRecord, ImageRecord
from corpus_db.store import BadImage

ABOUT = About(
    "mimic-cxr",
    "PhysioNet Credentialed Health Data License 1.5.0",
    "Johnson AEW, Pollard TJ, Greenbaum NR, Lungren MP, Deng C-Y, Peng Y, Lu Z, Mark RG, Berkowitz SJ, Horng S. "
    "MIMIC-CXR-JPG (2019). arXiv:1901.07042. doi:10.13026/8360-t248",
)
_WHAT = "MIMIC-CXR-JPG"
_REPORTS = "mimic-cxr-reports.zip"
_REPORT_FOLDERS = ("", "mimic-cxr-reports/")  # before files/p10/...
_LABELLERS = ("chexpert", "negbio")
_SPLITS = {"train": "train", "validate": "val", "test": "test"}
_IDS = ("subject_id", "study_id")
_SAID_OF_IMAGES = (
    "ViewPosition",
    "PerformedProcedureStepDescription",
    "ProcedureCodeSequence_CodeMeaning",
    "ViewCodeSequence_CodeMeaning",
    "PatientOrientationCodeSequence_CodeMeaning",
)
_ID, _DICOM_ID = re.compile("[0-9]+"), re.compile("[0-9A-Za-z-]+")
# ViewPosition and, where it is empty, the meaning of the view's code -> words that modality.read_plane knows
_PLANES = {
    "ap": "AP",
    "pa": "PA",
    "antero-posterior": "AP",
    "postero-anterior": "PA",
    **dict.fromkeys(("lateral", "ll", "rl", "left lateral", "right lateral", "xtable lateral"), "Lateral"),
    **dict.fromkeys(("lao", "rao", "lpo", "rpo"), "Oblique"),
    **dict.fromkeys(("ap lld", "ap rld", "pa lld", "pa rld"), "Decubitus"),
    **dict.fromkeys(("ap axial", "swimmers"), "Other View (see caption)"),
}


@dataclass(slots=True)
class _Study:
    """A study as the tables have it: what they say of each image, in the order of _SAID_OF_IMAGES."""

    subject: str
    split: str | None = None
    images: dict[str, tuple[str, ...]] = field(default_factory=dict)
    labels: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)


def records(files: Files) -> Iterator[Given]:
    """Each study with its images and its report. All that is held of the corpus at once is its tables."""
    studies: dict[str, _Study] = {}
    yield from _images(files, studies)
    yield from _splits(files, studies)
    for labeller in _LABELLERS:
        yield from _labels(files, labeller, studies)
    reports = _Reports(files)
    if not reports.any_of(studies):
        raise UserError(f"{files.given}: no reports here; MIMIC-CXR-JPG has none: put MIMIC-CXR's {_REPORTS} beside it")
    for key, study in studies.items():
        try:
            report = reports.read(study.subject, key)
        except BadImage as bad:
            report = None
            yield Trouble(f"{_folder(study.subject, key)}.txt", bad.reason)
        yield _record(key, study, report)


def _images(files: Files, studies: dict[str, _Study]) -> Iterator[Trouble]:
    for place, row in _rows(files, "metadata", "dicom_id", *_IDS):
        if isinstance(row, Bad):
            yield Trouble(place, *row)
        elif isinstance(study := _study(row, studies), Bad):
            yield Trouble(place, *study)
        else:
            study.images[row["dicom_id"]] = tuple(sys.intern(row.get(name, "")) for name in _SAID_OF_IMAGES)


def _splits(files: Files, studies: dict[str, _Study]) -> Iterator[Trouble]:
    """The split of each study; an image that the metadata lack comes in without what they would say of it."""
    for place, row in _rows(files, "split", "dicom_id", *_IDS, "split"):
        if isinstance(row, Bad):
            yield Trouble(place, *row)
            continue
        split = _SPLITS.get(row["split"])
        study = _study(row, studies) if split else Bad("bad_row", "split")
        if not isinstance(study, Bad) and study.split not in (None, split):
            study = Bad("bad_row", "split of a study in two")
        if isinstance(study, Bad):
            yield Trouble(place, *study)
        else:
            study.split = split
            study.images.setdefault(row["dicom_id"], ("",) * len(_SAID_OF_IMAGES))


def _labels(files: Files, labeller: str, studies: dict[str, _Study]) -> Iterator[Trouble]:
    """What a labeller found in each report; studies without an image have rows there, too, and are left."""
    alike: dict[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]] = {}  # few differ: one copy of each
    if _table(files, labeller) is None:
        return
    for place, row in _rows(files, labeller, *_IDS):
        if isinstance(row, Bad):
            yield Trouble(place, *row)
        elif study := studies.get(row["study_id"]):
            said = tuple((sys.intern(name), sys.intern(value)) for name, value in row.items() if value)
            said = tuple(pair for pair in said if pair[0] not in _IDS)
            study.labels[labeller] = alike.setdefault(said, said)


def _study(row: dict[str, str], studies: dict[str, _Study]) -> _Study | Bad:
    """The study of an image's row, new where need be; Bad where the row names none, or one of another patient."""
    for name, form in (("dicom_id", _DICOM_ID), *((name, _ID) for name in _IDS)):
        if not form.fullmatch(row[name]):
            return Bad("bad_row", name)
    study = studies.setdefault(row["study_id"], _Study(sys.intern(row["subject_id"])))
    return study if study.subject == row["subject_id"] else Bad("bad_row", "study_id of another patient")


def _table(files: Files, name: str) -> str | None:
    return files.first(*(f"mimic-cxr-2.0.0-{name}.{ending}" for ending in ("csv.gz", "csv")))


def _rows(files: Files, name: str, *columns: str) -> Iterator[tuple[str, dict[str, str] | Bad]]:
    """(place, row) of one of the tables; UserError where it is not there or is another."""
    table = _table(files, name) or files.need(_WHAT, f"mimic-cxr-2.0.0-{name}.csv.gz")
    for number, row in files.rows(table):
        if not isinstance(row, Bad) and (lacks := [column for column in columns if column not in row]):
            raise UserError(f"{files.root / table}: no column {', '.join(lacks)}; fetch {_WHAT} anew")
        yield f"{table}:{number}", row


def _folder(subject: str, study: str) -> str:
    return f"files/p{subject[:2]}/p{subject}/s{study}"


class _Reports:
    """The reports, each read when it is asked for: a file of its own, or a member of their archive."""

    def __init__(self, files: Files):
        self.files = files
        self.archive = files.first(_REPORTS)
        self.members: dict[str, str] = {}  # without the folders above files/ -> as the archive has it
        if self.archive is not None:
            files.used[self.archive] = None
            try:
                names = files.members(self.archive)
            except BadImage:
                raise UserError(f"{files.root / self.archive}: a damaged archive; fetch it anew") from None
            self.members = {name[name.find("files/p") :]: name for name in names if name.endswith(".txt")}

    def any_of(self, studies: dict[str, _Study]) -> bool:
        """Whether there is a report of any study."""
        return any(self._place(study.subject, key) for key, study in studies.items())

    def read(self, subject: str, study: str) -> str:
        """One report; BadImage tells why there is none."""
        place = self._place(subject, study)
        if place is None:
            raise BadImage("missing_file")
        try:
            return self.files.content(*place).decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError:
            raise BadImage("bad_encoding") from None

    def _place(self, subject: str, study: str) -> tuple[str, str | None] | None:
        name = f"{_folder(subject, study)}.txt"
        if self.archive is not None and name in self.members:
            return self.archive, self.members[name]
        file = self.files.first(*(folder + name for folder in _REPORT_FOLDERS))
        return None if file is None else (file, None)


def _record(key: str, study: _Study, report: str | None) -> Record:
    folder = _folder(study.subject, key)
    media = tuple(Media(key=image, name=image, file=f"{folder}/{image}.jpg") for image in study.images)
    images = [
        {"key": one.key, "path": one.path}
        | {name: value for name, value in zip(_SAID_OF_IMAGES, study.images[one.key], strict=True) if value}
        for one in media
    ]
    told = {"study_id": key, "subject_id": study.subject, "split": study.split, "report": report}
    labels = {labeller: dict(said) for labeller, said in study.labels.items()}
    return Record(key, {**told, **labels, "images": images}, media)


def read(kind: str, body: object) -> CaseRecord | None:
    """The `Reader` of these records."""
    if kind != ENCOUNTER or not isinstance(body, dict) or not (key := text(body, "study_id")):
        return None
    rows = images_of(body)
    report = body.get("report")
    found = report_sections.sections(report if isinstance(report, str) else "")
    caption = report_sections.conclusion(found)
    titles = (text(row, "PerformedProcedureStepDescription", "ProcedureCodeSequence_CodeMeaning") for row in rows)
    return CaseRecord(
        key=key,
        title=next((title for title in titles if title), None),
        history=found.get("indication") or found.get("history"),
        findings=found.get("findings"),
        impression=found.get("impression"),
        patient_key=text(body, "subject_id"),
        split=text(body, "split"),
        images=tuple(_image(key, row, caption) for row in rows),
    )


def _image(study: str, row: dict[str, Any], caption: str | None) -> ImageRecord:
    position = text(row, "ViewPosition")
    view = position or text(row, "ViewCodeSequence_CodeMeaning")
    return ImageRecord(
        key=str(row["key"]),
        case_key=study,
        name=str(row["key"]),
        url=text(row, "path"),
        caption=caption,
        modality="XR - Plain Film",  # the tables do not tell which are CR and which are DX
        plane=_PLANES.get(view.lower(), view) if view else None,
        dicom={"ViewPosition": position} if position else None,
    )
