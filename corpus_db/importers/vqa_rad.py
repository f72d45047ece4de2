"""Read VQA-RAD (Lau, Gayen, Ben Abacha, Demner-Fushman, 2018, Scientific Data 5:180251), whose images are MedPix's.

Two forms are about: the published one (one JSON file, a test question marked by its phrase type, CC0 1.0) and the one
that most Med-VQA code trains on (trainset.json, testset.json). The second is taken where both are there: it holds the
first's questions and more, and its ids are its own.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from corpus_db.errors import UserError
from corpus_db.importers.questions import QuestionRecord, QuestionSet
from corpus_db.text import storable

CITATION = "Lau JJ, Gayen S, Ben Abacha A, Demner-Fushman D. Sci Data 5, 180251 (2018). doi:10.1038/sdata.2018.251"
_SPLIT_FILES = {"train": "trainset.json", "test": "testset.json"}
_IMAGE_FOLDERS = ("images", "VQA_RAD Image Folder", "imgs", ".")
_NEEDED = ("qid", "image_name", "question", "answer")


def read(folder: Path) -> QuestionSet:
    """The set in a folder; raises UserError where its files are not there or are of another form."""
    images = next(name for name in _IMAGE_FOLDERS if (folder / name).is_dir())
    prefix = "" if images == "." else f"{images}/"
    if all((folder / name).is_file() for name in _SPLIT_FILES.values()):
        files = list(_SPLIT_FILES.values())
        read_files = (_questions(folder / name, prefix, split) for split, name in _SPLIT_FILES.items())
        questions = [question for part in read_files for question in part]
    else:
        files = [_published_file(folder)]
        questions = list(_questions(folder / files[0], prefix, None))
    _refuse_twice(folder, questions)
    return QuestionSet("vqa-rad", folder, "CC0 1.0", CITATION, files, questions)


def _published_file(folder: Path) -> str:
    for path in sorted(folder.glob("*.json")):
        rows = _rows(path)
        if rows and "phrase_type" in rows[0] and "qid" in rows[0]:
            return path.name
    raise UserError(f"{folder}: neither trainset.json and testset.json nor VQA-RAD's published JSON file is here")


def _rows(path: Path) -> list[Any]:
    try:
        rows = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({error}); fetch VQA-RAD anew") from None
    if not (isinstance(rows, list) and all(isinstance(row, dict) for row in rows)):
        raise UserError(f"{path}: not a list of questions; fetch VQA-RAD anew")
    return rows


def _questions(path: Path, prefix: str, split: str | None) -> Iterator[QuestionRecord]:
    for number, row in enumerate(_rows(path), 1):
        missing = [name for name in _NEEDED if row.get(name) in (None, "")]
        if missing:
            raise UserError(f"{path}: question {number} has no {', '.join(missing)}; fetch VQA-RAD anew")
        phrase = str(row.get("phrase_type") or "")
        name = storable(str(row["image_name"]))
        yield QuestionRecord(
            key=f"{split}:{_folded(row['qid'])}" if split else _folded(row["qid"]),
            image_name=name.rpartition(".")[0] or name,
            image_path=prefix + name,
            question=_folded(row["question"]),
            answer=_folded(row["answer"]),
            answer_type=_folded(row.get("answer_type")).lower() or None,
            question_type=_folded(row.get("question_type")) or None,
            split=split or ("test" if phrase.startswith("test") else "train"),
        )


def _folded(value: Any) -> str:
    """Text without the stray spaces of the files ("CLOSED "); some answers are numbers."""
    return " ".join(storable(str("" if value is None else value)).split())


def _refuse_twice(folder: Path, questions: Iterable[QuestionRecord]) -> None:
    seen = set()
    for question in questions:
        if question.key in seen:
            raise UserError(f"{folder}: question {question.key} stands there twice; fetch VQA-RAD anew")
        seen.add(question.key)
