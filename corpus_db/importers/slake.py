"""Read SLAKE (Liu, Zhan, Xu, Ma, Yang, Wu, 2021, ISBI): questions about 642 images, in English and in Chinese.

Each image is a folder (imgs/xmlab1/source.jpg) whose name tells it from the others; all files are named alike. The
splits share no image within a language, but do across languages.
"""

from collections.abc import Iterator
from typing import Any

from corpus_db.errors import UserError
from corpus_db.importers.base import About, Bad, Files, Given, Media, QuestionRecord, Record, Trouble, folded, lacking
from corpus_db.text import storable

ABOUT = About(
    "slake",
    "CC BY 4.0",
    "Liu B, Zhan L-M, Xu L, Ma L, Yang Y, Wu X-M. SLAKE. ISBI (2021). arXiv:2102.09542",
    pairs=False,
)
_SPLIT_FILES = {"train": ("train.json",), "val": ("validate.json", "validation.json"), "test": ("test.json",)}
_NEEDED = ("qid", "img_name", "question", "q_lang")


def records(files: Files) -> Iterator[Given]:
    """The questions of each split that is there, a record each; raises UserError where none is."""
    files.need("SLAKE", *(name for names in _SPLIT_FILES.values() for name in names))
    for split, names in _SPLIT_FILES.items():
        if name := files.first(*names):
            for number, row in enumerate(_rows(files, name), 1):
                made = _record(row, split)
                yield made if isinstance(made, Record) else Trouble(f"{name}:{number}", *made)


def _rows(files: Files, name: str) -> list[Any]:
    rows = files.json(name)
    if not isinstance(rows, list):
        raise UserError(f"{files.root / name}: not a list of questions; fetch SLAKE anew")
    return rows


def _record(row: Any, split: str) -> Record | Bad:
    """One question with its image; Bad for a row that is none. An answer may be empty: one of the set's is."""
    if not isinstance(row, dict):
        return Bad("not_an_object")
    answer = "answer" if not isinstance(row.get("answer"), str | int | float) else None
    if lacks := lacking(row, *_NEEDED) or answer:
        return Bad("bad_row", lacks)
    image = storable(str(row["img_name"]))
    name = image.rpartition("/")[0].rpartition("/")[2] or image  # xmlab1
    media = Media(key=name, name=name, file=f"imgs/{image}")
    question = QuestionRecord(
        key=folded(row["qid"]),
        image_name=name,
        image_path=media.path,
        question=folded(row["question"]),
        answer=folded(row["answer"]),
        answer_type=folded(row.get("answer_type")).lower() or None,
        question_type=folded(row.get("content_type")) or None,
        split=split,
        language=folded(row["q_lang"]).lower(),
        organ=folded(row.get("location")).lower() or None,
        modality=folded(row.get("modality")) or None,
    )
    return Record(question.key, media=(media,), questions=(question,))
