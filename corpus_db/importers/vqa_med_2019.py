"""Read VQA-Med-2019 (Ben Abacha et al., CLEF 2019 Working Notes), whose images are MedPix's under MedPix's own names.

Lines of `synpicN|question|answer` for training and validation, with one file a category beside them, and of
`synpicN|category|question|answer` for the test. Each split may be there or not; one must be.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from corpus_db.importers.base import About, Bad, Files, Given, Media, QuestionRecord, Record, Trouble, folded, stem

ABOUT = About(
    "vqa-med-2019",
    "CC BY 4.0",
    "Ben Abacha A, Hasan SA, Datla VV, Liu J, Demner-Fushman D, Müller H. VQA-Med. CLEF 2019 Working Notes, 2380:272",
    pairs=False,
)


@dataclass(frozen=True)
class _Split:
    """Where a split lies: its folder as published, or the folder that was given itself."""

    name: str
    folder: str
    table: str
    images: tuple[str, ...]
    categories: tuple[str, ...] = ()  # files of the same lines, one a category


def _categories(split: str) -> tuple[str, ...]:
    kinds = ("C1_Modality", "C2_Plane", "C3_Organ", "C4_Abnormality")
    return tuple(f"QAPairsByCategory/{kind}_{split}.txt" for kind in kinds)


_SPLITS = (
    _Split(
        "train", "ImageClef-2019-VQA-Med-Training", "All_QA_Pairs_train.txt", ("Train_images",), _categories("train")
    ),
    _Split("val", "ImageClef-2019-VQA-Med-Validation", "All_QA_Pairs_val.txt", ("Val_images",), _categories("val")),
    _Split(
        "test",
        "VQAMed2019Test",
        "VQAMed2019_Test_Questions_w_Ref_Answers.txt",
        ("VQAMed2019_Test_Images", "Test_images", "Test_Images"),
    ),
)
# What such words begin can be answered by yes or no, or by one of the words that are offered.
_ASKS_TO_CHOOSE = ("is ", "are ", "was ", "were ", "does ", "do ", "did ", "has ", "have ", "can ")


def records(files: Files) -> Iterator[Given]:
    """The questions of each split that is there, a record each; raises UserError where none is."""
    files.need("VQA-Med-2019", *(name for split in _SPLITS for name in _places(split, split.table)))
    for split in _SPLITS:
        if table := files.first(*_places(split, split.table)):
            yield from _questions(files, split, table)


def _places(split: _Split, name: str) -> tuple[str, str]:
    return f"{split.folder}/{name}", name


def _questions(files: Files, split: _Split, table: str) -> Iterator[Given]:
    below = table.removesuffix(split.table)
    images = next((name for name in split.images if (files.root / below / name).is_dir()), split.images[0])
    known = _known_categories(files, split, below)
    size = 4 if split.name == "test" else 3
    for number, line in files.lines(table):
        if isinstance(line, Bad):
            yield Trouble(f"{table}:{number}", *line)
        elif fields := _fields(line, size):
            image, *category, question, answer = fields
            kind = category[0].lower() if category else known.get((image, question, answer))
            file = f"{images}/{stem(image)}.jpg"
            place = f"{split.folder}/{split.images[0]}/{stem(image)}.jpg"
            media = Media(key=stem(image), name=stem(image), file=below + file, place=place)
            asked = QuestionRecord(
                key=f"{split.name}:{number}",  # the set gives its questions no ids
                image_name=media.name,
                image_path=media.path,
                question=question,
                answer=answer,
                answer_type="closed" if question.lower().startswith(_ASKS_TO_CHOOSE) else "open",
                question_type=kind,
                split=split.name,
            )
            yield Record(asked.key, media=(media,), questions=(asked,))
        elif line.strip():
            yield Trouble(f"{table}:{number}", "bad_row", f"not {size} fields with bars between")


def _known_categories(files: Files, split: _Split, below: str) -> dict[tuple[str, ...], str]:
    """(image, question, answer) -> modality, plane, organ or abnormality, as far as the files are there."""
    known = {}
    for name in split.categories:
        if found := files.first(below + name):
            category = stem(found).split("_")[1].lower()
            lines = (_fields(line, 3) for _, line in files.lines(found) if isinstance(line, str))
            known.update({tuple(fields): category for fields in lines if fields})
    return known


def _fields(line: str, size: int) -> list[str] | None:
    """The fields of a line, none of them empty; None for another line. An answer may hold bars of its own."""
    fields = [folded(field) for field in line.split("|", size - 1)]
    return fields if len(fields) == size and all(fields) else None
