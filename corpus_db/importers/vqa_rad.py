"""Read VQA-RAD (Lau, Gayen, Ben Abacha, Demner-Fushman, 2018, Scientific Data 5:180251), whose images are MedPix's.

Two forms are about: the published one (one JSON file, a test question marked by its phrase type, CC0 1.0) and the one
that most Med-VQA code trains on (trainset.json, testset.json). The second is taken where both are there: it holds the
first's questions and more, and its ids are its own.
"""

from collections.abc import Iterator
from typing import Any

from corpus_db.errors import UserError
from corpus_db.importers.base import About, Files, Given, Media, QuestionRecord, Record, Trouble, folded, lacking, stem
from corpus_db.text import storable

ABOUT = About(
    "vqa-rad",
    "CC0 1.0",
    "Lau JJ, Gayen S, Ben Abacha A, Demner-Fushman D. Sci Data 5, 180251 (2018). doi:10.1038/sdata.2018.251",
    pairs=False,
)
_SPLIT_FILES = {"train": "trainset.json", "test": "testset.json"}
_IMAGE_FOLDERS = ("images", "VQA_RAD Image Folder", "imgs", ".")
_NEEDED = ("qid", "image_name", "question", "answer")


def records(files: Files) -> Iterator[Given]:
    """The set in a folder; raises UserError where its files are not there or are of another form."""
    images = next(name for name in _IMAGE_FOLDERS if (files.root / name).is_dir())
    prefix = "" if images == "." else f"{images}/"
    if all(files.first(name) for name in _SPLIT_FILES.values()):
        for split, name in _SPLIT_FILES.items():
            yield from _questions(files, name, prefix, split)
    else:
        yield from _questions(files, _published_file(files), prefix, None)


def _published_file(files: Files) -> str:
    for name in files.matching("*.json"):
        rows = files.json(name)
        first = rows[0] if isinstance(rows, list) and rows else None
        if isinstance(first, dict) and "phrase_type" in first and "qid" in first:
            return name
    raise UserError(f"{files.given}: neither trainset.json and testset.json nor VQA-RAD's published JSON file is here")


def _rows(files: Files, name: str) -> list[Any]:
    rows = files.json(name)
    if not isinstance(rows, list) or (rows and not any(isinstance(row, dict) for row in rows)):
        raise UserError(f"{files.root / name}: not a list of questions; fetch VQA-RAD anew")
    return rows


def _questions(files: Files, name: str, prefix: str, split: str | None) -> Iterator[Given]:
    for number, row in enumerate(_rows(files, name), 1):
        if not isinstance(row, dict):
            yield Trouble(f"{name}:{number}", "not_an_object")
            continue
        if lacks := lacking(row, *_NEEDED):
            yield Trouble(f"{name}:{number}", "bad_row", lacks)
            continue
        phrase = str(row.get("phrase_type") or "")
        image = storable(str(row["image_name"]))
        media = Media(key=stem(image), name=stem(image), file=prefix + image, place=f"{_IMAGE_FOLDERS[0]}/{image}")
        question = QuestionRecord(
            key=f"{split}:{folded(row['qid'])}" if split else folded(row["qid"]),
            image_name=media.name,
            image_path=media.path,
            question=folded(row["question"]),
            answer=folded(row["answer"]),
            answer_type=folded(row.get("answer_type")).lower() or None,
            question_type=folded(row.get("question_type")) or None,
            split=split or ("test" if phrase.startswith("test") else "train"),
            organ=folded(row.get("image_organ")).lower() or None,
        )
        yield Record(question.key, media=(media,), questions=(question,))
