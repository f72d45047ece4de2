"""Questions about images, split to train, to validate and to test, without leaks where the protocol allows it."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from corpus_db.read import Question, UserError, Version, database
from corpus_db.read import questions as read_questions
from vlt.captions import captions, fingerprint
from vlt.data import UNSCORED, Batch, Pictures
from vlt.metrics.answers import accepted
from vlt.pack import CAPTIONS, Pack
from vlt.text import Tokenizer

NO_IMAGE = "its image is not here"
SAMPLE = "sample-truth"  # asks about synthetic images
PROTOCOLS = ("official", "image-disjoint")
VAL_SHARE, TEST_SHARE = 0.1, 0.15  # of the images, where a set does not say


@dataclass(frozen=True)
class QuestionSet:
    """The questions of one set under one protocol."""

    source: str
    protocol: str
    language: str
    database: str  # as a user may read it
    splits: Mapping[str, tuple[Question, ...]]  # train, val, test
    left_out: Mapping[str, tuple[str, ...]]  # why: the ids of the questions
    blank: bool = False  # whether it holds questions whose image is not here

    @property
    def name(self) -> str:
        return f"{self.source}/{self.protocol}/{self.language}"

    @property
    def sha256(self) -> str:
        """Of all that a run learns from and is tested on."""
        digest = hashlib.sha256(self.name.encode())
        for split, questions in self.splits.items():
            for one in questions:
                told = (split, one.upstream_id, one.image_sha256, one.question, one.answer)
                digest.update(repr(told).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    @property
    def images(self) -> dict[str, str]:
        """sha256: path, of all images that are here."""
        asked = (one for questions in self.splits.values() for one in questions)
        return {one.image_sha256: one.image_path for one in asked if one.image_sha256 and one.image_path}

    @property
    def answers(self) -> list[str]:
        """Those to choose from: of training and validation, which are both of an official training split."""
        return vocabulary_of([*self.splits["train"], *self.splits["val"]])

    def told(self) -> dict[str, Any]:
        """As `runs.Corpus.told`, and what `again` reads it by."""
        which = {"source": self.source, "protocol": self.protocol, "language": self.language, "blank": self.blank}
        count = sum(map(len, self.splits.values()))
        told = {"version": self.name, "manifest_sha256": self.sha256, "pairs": count, "database": self.database}
        return told | {"weight": 1.0, "questions": which}


def again(told: Mapping[str, Any], db: str | None = None) -> QuestionSet:
    """The set that a run began with, read again; `db`: where it lies now."""
    given = told.get("questions")
    which: dict[str, Any] = {"blank": False} | given if isinstance(given, dict) else {}  # older runs tell no `blank`
    if set(which) != {"source", "protocol", "language", "blank"}:
        raise UserError(f"{str(told.get('version'))[:80]!r}: no set of questions; is corpus.json another run's?")
    return question_set(**which, db=db or told["database"])


def question_set(
    source: str, protocol: str = "official", language: str = "en", db: str | None = None, blank: bool = False
) -> QuestionSet:
    """The questions of an imported set in one language, or in "all", under a protocol.

    official: the set's own splits; a set without a val split gives a tenth of its training images to one, by the hash
    of the image. image-disjoint: the images of all splits are shared out anew by their hash (75, 10 and 15 %), so that
    no image of a test question was seen in training. Under both, training questions whose image tests or validates
    in the same set are told (`shared_images`), and in several languages left out.

    Questions without an answer are left out, and, unless `blank` (for models that see none), those whose image is not
    here. Raises UserError where nothing is left to train on.
    """
    if protocol not in PROTOCOLS:
        raise UserError(f"protocol {protocol!r}: give one of {', '.join(PROTOCOLS)}")
    asked = read_questions(source, None, db)
    spoken = Counter(one.language for one in asked)
    if language != "all" and language not in spoken:
        raise UserError(f"{source}: no questions in {language!r}; there are {', '.join(sorted(spoken))}, or give all")
    kept, left_out = _usable([one for one in asked if language in ("all", one.language)], blank)
    splits = _disjoint(kept) if protocol == "image-disjoint" else _official(kept)
    if language == "all":
        splits, leaking = _without_leaks(splits)
        left_out |= {"image of another language's test": leaking} if leaking else {}
    if not splits["train"]:
        most = max(left_out.items(), key=lambda one: len(one[1]), default=None)
        why = f": {len(most[1])} are left out, {most[0]}, the first {most[1][0]}" if most else ""
        lacks = most is not None and most[0] == NO_IMAGE
        what = "import the set with its images, or give --blind" if lacks else "import a set that has a train split"
        raise UserError(f"{source}: no training question is left{why}; {what}")
    return QuestionSet(source, protocol, language, database(db), splits, left_out, blank)


def _usable(asked: Iterable[Question], blank: bool) -> tuple[list[Question], dict[str, tuple[str, ...]]]:
    kept, without_answer, without_image = [], [], []
    for one in asked:
        if not accepted(one.answer):
            without_answer.append(one.upstream_id)
        elif one.image_path is None and not blank:
            without_image.append(one.upstream_id)
        else:
            kept.append(one)
    told = {"no answer": tuple(without_answer), NO_IMAGE: tuple(without_image)}
    return kept, {why: ids for why, ids in told.items() if ids}


def image_of(question: Question) -> str:
    """What tells a question's image from others: its bytes, or its name where they are not here."""
    return question.image_sha256 or f"{question.source}:{question.image_name}"


def _share(image: str, salt: str) -> float:
    """A number in [0, 1) that an image always has."""
    return int.from_bytes(hashlib.sha256(f"{salt}:{image}".encode()).digest()[:8]) / 2**64


def _official(asked: Sequence[Question]) -> dict[str, tuple[Question, ...]]:
    splits = {name: tuple(one for one in asked if one.split == name) for name in ("train", "val", "test")}
    if not splits["val"]:
        chosen = {image for one in splits["train"] if _share(image := image_of(one), "val") < VAL_SHARE}
        splits["val"] = tuple(one for one in splits["train"] if image_of(one) in chosen)
        splits["train"] = tuple(one for one in splits["train"] if image_of(one) not in chosen)
    return splits


def _disjoint(asked: Sequence[Question]) -> dict[str, tuple[Question, ...]]:
    def split(one: Question) -> str:
        share = _share(image_of(one), "split")
        return "test" if share < TEST_SHARE else "val" if share < TEST_SHARE + VAL_SHARE else "train"

    placed = [(split(one), one) for one in asked]
    return {name: tuple(one for where, one in placed if where == name) for name in ("train", "val", "test")}


def _without_leaks(splits: Mapping[str, Sequence[Question]]) -> tuple[dict[str, tuple[Question, ...]], tuple[str, ...]]:
    """Test keeps its images, val those that test has not, train the rest."""
    test, val = ({image_of(one) for one in splits[name]} for name in ("test", "val"))
    taken = {"test": set(), "val": test, "train": test | val}
    kept = {name: tuple(one for one in asked if image_of(one) not in taken[name]) for name, asked in splits.items()}
    gone = tuple(one.upstream_id for name, asked in splits.items() for one in asked if image_of(one) in taken[name])
    return kept, gone


class Leak(UserError):
    """A model would be tested on what it learnt from."""


def refuse_learnt(asked: QuestionSet, before: QuestionSet, run: str) -> None:
    """Leak where a run was fine-tuned on test questions, or, under image-disjoint, on their images."""
    learnt = [one for name in ("train", "val") for one in before.splits[name]]
    told = {(one.source, one.upstream_id) for one in learnt}
    seen = {image_of(one) for one in learnt} if asked.protocol == "image-disjoint" else set()
    test = asked.splits["test"]
    if held := [one.upstream_id for one in test if (one.source, one.upstream_id) in told or image_of(one) in seen]:
        raise Leak(
            f"{run} was fine-tuned on {before.name}, which holds {len(held)} of the {len(test)} test questions of "
            f"{asked.name} or their images, the first: {held[0]}. Begin with a run that was not"
        )


def refuse_tested(asked: QuestionSet, corpus: Version) -> None:
    """Leak where a corpus teaches an image that is tested, by its bytes or by MedPix's name of it.

    `read.leaks` knows the official test sets; image-disjoint tests other images than they do. Names of samples tell
    nothing: two samples name different images alike.
    """
    tested = {image_of(one) for one in asked.splits["test"]}
    names = {one.image_name for one in asked.splits["test"]} if asked.source != SAMPLE else set()
    held = [
        pair.pair_id
        for pair in corpus.pairs
        if pair.split != "test" and (pair.sha256 in tested or pair.upstream_name in names)
    ]
    if held:
        raise Leak(
            f"version {corpus.name} teaches {len(held)} images that {asked.name} tests, the first: {held[0]}. "
            f"Pre-train on one without them (build --exclude {asked.source}), or take the official protocol"
        )


def shared_images(found: QuestionSet) -> int:
    """How many images of test questions stand in training or validation, too: what an official split leaks."""
    seen = {image_of(one) for name in ("train", "val") for one in found.splits[name]}
    return len({image_of(one) for one in found.splits["test"]} & seen)


def vocabulary_of(questions: Sequence[Question]) -> list[str]:
    """The answers to choose from, in one form each and sorted; of several right ones the first."""
    return sorted({accepted(one.answer)[0] for one in questions})


class QuestionDataset(Pictures):
    """Questions with their images and answers, as `data.Batches` takes a data set."""

    def __init__(
        self,
        questions: Sequence[Question],
        pack: Pack,
        tokenizer: Tokenizer,
        answers: Sequence[str],
        *,
        channels: int,
        max_tokens: int,
    ):
        super().__init__(pack, [one.image_sha256 for one in questions], channels)
        self.questions, self.pad, self.max_tokens = questions, tokenizer.pad, max_tokens
        self.names = [one.upstream_id for one in questions]
        image = np.array([fingerprint(image_of(one)) for one in questions])
        text = np.array([fingerprint(f"{one.question}\n{one.answer}") for one in questions])
        self.ids = {"image_id": image, "case_id": image, "cluster_id": image, "caption_id": text}
        self.kind = np.full(len(questions), -1)
        texts = [one.question for one in questions]
        self.tokens, self.offsets, _ = captions(pack.folder / CAPTIONS, texts, tokenizer, max_tokens)
        number = {answer: place for place, answer in enumerate(answers)}
        right = [[number[form] for form in accepted(one.answer) if form in number] for one in questions]
        self.labels = np.array([some[0] if some else UNSCORED for some in right], np.int64)
        self.said = [_said(one, tokenizer, max_tokens) for one in questions]

    def __len__(self) -> int:
        return len(self.questions)

    def batch(self, rows: np.ndarray, images: bool = True) -> Batch:
        """Rows (B,) int64 as a Batch on the CPU; without `images` they are left empty, (B, 0)."""
        columns = [self.tokens[:, self.offsets[row] : self.offsets[row + 1]] for row in rows]
        tokens, words, classes = (
            _padded([column[part] for column in columns], fill, self.max_tokens)
            for part, fill in enumerate((self.pad, -1, 0))
        )
        spoken = [self.said[row] for row in rows]
        said = _padded([ids for ids, _ in spoken], self.pad, self.max_tokens)
        asked = [[UNSCORED] * begin + ids[begin:] for ids, begin in spoken]
        ids = {name: torch.from_numpy(values[rows]) for name, values in self.ids.items()}
        return Batch(
            images=self.images(rows) if images else torch.empty(len(rows), 0, dtype=torch.uint8),
            tokens=tokens,
            present=tokens != self.pad,
            words=words,
            classes=classes.to(torch.uint8),
            image_id=ids["image_id"],
            caption_id=ids["caption_id"],
            case_id=ids["case_id"],
            cluster_id=ids["cluster_id"],
            kind=torch.from_numpy(self.kind[rows]),
            rows=torch.from_numpy(rows),
            answer=torch.from_numpy(self.labels[rows]),
            said=said,
            said_labels=_padded(asked, UNSCORED, self.max_tokens),
        )


def _said(one: Question, tokenizer: Tokenizer, max_tokens: int) -> tuple[list[int], int]:
    """Question and answer as tokens, and where the answer begins."""
    asked = tokenizer.prompt(one.question, max_tokens)
    answer = tokenizer.encode(accepted(one.answer)[0], max_tokens).ids[1:]
    return [*asked, *answer][:max_tokens], len(asked)


def _padded(rows: Sequence[Any], fill: int, most: int) -> torch.Tensor:
    """int64 (B, L), L the longest row's, rounded up to a multiple of 8 where the model has as many places."""
    length = min(-(-max(map(len, rows)) // 8) * 8, most)
    found = np.full((len(rows), length), fill, np.int64)
    for place, row in enumerate(rows):
        found[place, : len(row)] = row
    return torch.from_numpy(found)
