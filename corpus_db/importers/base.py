"""What an importer gives the engine: who the source is, and its records, one at a time.

An importer is a module with ABOUT, `records(files)` and, where its source brings pairs, `read(kind, body)`, the
`Reader` of what `records` gave. It reads its source's files through `Files` alone and opens no image: it names them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from corpus_db.importers.files import Bad, Files
from corpus_db.text import storable

ENCOUNTER = "encounter"  # the ledger's kind of a case, whatever its source calls it


@dataclass(frozen=True)
class About:
    """A source, as the table `source` has it."""

    name: str
    licence: str
    citation: str
    pairs: bool = True  # or only questions about images
    private: bool = False  # whether the names of its files are not to be stored


@dataclass(frozen=True)
class Media:
    """One image that a record names: a file below the folder, a member of an archive, or a part of either.

    What a part is (a frame's number, a box) is for the importer's `render(body, part)` to know, which then gives the
    bytes of the part's image.
    """

    key: str  # the source's id of the image
    name: str  # the source's name of it: synpic54610
    file: str  # below the folder, with slashes
    member: str | None = None  # of that archive
    part: str | None = None
    place: str | None = None  # in the ledger, for a file that may lie in one of several folders, or has a secret name

    @property
    def path(self) -> str:
        """Its place in the ledger."""
        inside = f"{self.file}!/{self.member}" if self.member is not None else self.file
        place = inside if self.place is None else self.place
        return storable(place if self.part is None else f"{place}#{self.part}")


@dataclass(frozen=True)
class QuestionRecord:
    """One question as its file holds it; `image_path` is the `path` of a Media, whether its bytes are here or not."""

    key: str
    image_name: str  # as other sources name the image: synpic54610
    image_path: str
    question: str
    answer: str
    answer_type: str | None
    question_type: str | None
    split: str
    language: str = "en"
    organ: str | None = None  # of the image, lower case
    modality: str | None = None  # of the image, as the set says


@dataclass(frozen=True)
class Record:
    """What a source says in one place: a case or a part of one, with the images it names and questions about them.

    `body` is JSON, None where there are only questions. Its images stand in a list "images", each with its "key", so
    that one can be taken down alone. Records whose readings have the same case key are joined by the build.
    """

    key: str
    body: dict[str, Any] | None = None
    media: tuple[Media, ...] = ()
    questions: tuple[QuestionRecord, ...] = ()


@dataclass(frozen=True)
class Trouble:
    """A part of the source that cannot be taken: where (captions.txt:17) and why, a key of reasons.REASONS.

    `detail`: the field at fault, or of what kind the fault is; from a small set, since it is counted.
    """

    path: str
    reason: str
    detail: str | None = None


Given = Record | Trouble


def folded(value: Any) -> str:
    """Text without stray spaces ("CLOSED "); some answers are numbers."""
    return " ".join(storable(str("" if value is None else value)).split())


def lacking(row: Mapping[str, Any], *names: str) -> str | None:
    """The first of some fields that holds neither words nor a number."""
    return next((name for name in names if text(row, name) is None), None)


def stem(name: str) -> str:
    """A file's name without its folders and its ending."""
    name = name.rpartition("/")[2]
    return name.rpartition(".")[0] or name


def text(row: Mapping[str, Any], *names: str) -> str | None:
    """The first of some fields that holds words or a number, without white space round it."""
    for name in names:
        value = row.get(name)
        if isinstance(value, str | int | float) and not isinstance(value, bool) and str(value).strip():
            return str(value).strip()
    return None


def images_of(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The images of a raw record, as `Record` has them."""
    return [row for row in body.get("images") or [] if isinstance(row, dict) and text(row, "key")]


__all__ = [
    "ENCOUNTER",
    "About",
    "Bad",
    "Files",
    "Given",
    "Media",
    "QuestionRecord",
    "Record",
    "Trouble",
    "folded",
    "images_of",
    "lacking",
    "stem",
    "text",
]
