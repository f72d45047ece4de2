"""Medical visual question answering: learning to answer, answering, and the two baselines that a number needs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from corpus_db.read import Question, UserError, progress
from vlt import decode
from vlt.config import Config
from vlt.data import Batches
from vlt.device import Place
from vlt.metrics.answers import accepted, exact, kinds
from vlt.metrics.vqa import Asked
from vlt.model import VLT, evaluating
from vlt.pack import Pack, pack_images
from vlt.tasks.base import Say, Task, batches
from vlt.tasks.questions import QuestionDataset, QuestionSet, image_of
from vlt.text import Tokenizer

AT_ONCE = 64  # questions in one pass


class Answering(Task):
    """The task of a run that learns to answer; validated by exact match."""

    chosen_by = "accuracy"

    def __init__(self, questions: QuestionSet, answers: Sequence[str]):
        self.questions, self.answers = questions, answers

    @property
    def sources(self) -> list[QuestionSet]:
        """The question set."""
        return [self.questions]

    def pack(self, config: Config, say: Say) -> None:
        """Pack the images of all splits."""
        self._pack(config.image_size, say)

    def _pack(self, size: int, say: Say = lambda line: None) -> Pack:
        name, images = f"questions {self.questions.name}", self.questions.images
        if not images:  # for a model that sees none
            return Pack.empty(self.questions.sha256, size)
        return pack_images(name, self.questions.sha256, images, size, say)

    def dataset(
        self, split: str, config: Config, tokenizer: Tokenizer, say: Say = lambda line: None
    ) -> QuestionDataset:
        """The questions of a split whose images can be read."""
        packed = self._pack(config.image_size, say)
        asked = self.questions.splits[split]
        kept = [one for one in asked if one.image_sha256 in packed.where or (config.blind and not one.image_path)]
        if not kept:
            raise UserError(f"{self.questions.name}: no question to {split} with an image that can be read")
        sizes = {"channels": config.channels, "max_tokens": config.max_tokens}
        return QuestionDataset(kept, packed, tokenizer, self.answers, **sizes)

    def data(
        self, config: Config, tokenizer: Tokenizer, say: Say, place: Place
    ) -> tuple[Batches, QuestionDataset | None]:
        """The training batches and the validation questions."""
        stream = batches([(self.dataset("train", config, tokenizer, say), 1.0)], config, tokenizer, place)
        return stream, self.dataset("val", config, tokenizer) if self.questions.splits["val"] else None

    def evaluate(
        self, model: VLT, validation: QuestionDataset, tokenizer: Tokenizer, device: torch.device
    ) -> dict[str, float]:
        """Exact match on all, closed and open questions."""
        with evaluating(model):
            found = answered(model, validation, tokenizer, self.answers, device, beams=0)
        hits = np.array([exact(one.output, accepted(one.truth)) for one in found])
        closed = np.array([asked.answer_type == "closed" for asked in validation.questions])
        scores = {"accuracy": hits, "closed": hits[closed], "open": hits[~closed]}
        return {name: float(part.mean()) for name, part in scores.items() if len(part)}


@dataclass(frozen=True)
class Answered:
    """One question with what a model made of it; a line of predictions.jsonl."""

    id: str
    image: str
    question: str
    truth: str
    output: str  # the classifier's, else what was said
    score: float  # its probability; of what was said, the mean log-probability of a token
    said: str | None  # by the decoder, for a model that learned lm
    known: bool  # whether the truth is one of the answers to choose from
    right: bool

    def line(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@torch.no_grad()
def answered(
    model: VLT,
    asked: QuestionDataset,
    tokenizer: Tokenizer,
    answers: Sequence[str],
    device: torch.device,
    beams: int = 3,
    say: Say | None = None,
) -> list[Answered]:
    """What a model answers to each question: by its classifier, by its decoder, or by both.

    With `beams` 0 a model that has a classifier writes nothing. `say` is told how far it has come.
    """
    chooses, writes = "answer" in model.config.objectives, "lm" in model.config.objectives
    found, choices = [], set(answers)
    parts = [range(first, min(first + AT_ONCE, len(asked))) for first in range(0, len(asked), AT_ONCE)]
    for some in progress(parts, len(asked), "questions answered", say) if say else parts:
        batch = asked.batch(np.array(some)).to(device)
        image = model.encode_image(batch.images)
        here = asked.questions[some.start : some.stop]
        chosen = _classified(model, batch.tokens, batch.present, image) if chooses else None
        said = _spoken(model, here, image, tokenizer, beams or 1) if writes and (beams or not chooses) else None
        for place, question in enumerate(here):
            spoken, sure = said[place] if said else (None, 0.0)
            output, score = (answers[chosen[1][place]], chosen[0][place]) if chosen else (spoken or "", sure)
            right = accepted(question.answer)
            known = not choices.isdisjoint(right)
            told = (question.upstream_id, question.image_name, question.question, question.answer)
            found.append(Answered(*told, output, float(score), spoken, known, exact(output, right)))
    return found


def _classified(model: VLT, tokens: Tensor, present: Tensor, image: Tensor) -> tuple[list[float], list[int]]:
    logits = model.answer_logits(model.encode_text(tokens, present), image, present)
    best = logits.float().softmax(1).max(1)
    return best.values.tolist(), best.indices.tolist()


def _spoken(
    model: VLT, asked: Sequence[Question], image: Tensor, tokenizer: Tokenizer, beams: int
) -> list[tuple[str, float]]:
    prompts = [tokenizer.prompt(one.question, model.config.max_tokens) for one in asked]
    return decode.texts(model, tokenizer, image, prompts, decode.Search(beams))


def described(question: Question) -> Asked:
    """A question as `metrics.vqa` scores it, with the groups it counts in."""
    groups = [question.answer_type or "type unknown", *(f"type: {kind}" for kind in kinds(question.question_type))]
    for name in ("organ", "modality"):
        if value := getattr(question, name):
            groups.append(f"{name}: {value.casefold()}")
    return Asked(image_of(question), accepted(question.answer), tuple(groups))


class Frequent:
    """The baseline that looks at neither image nor words: the most frequent training answer of a question's type."""

    def __init__(self, training: Sequence[Question]):
        counts: dict[Any, Counter[str]] = {}
        for one in training:
            for key in (self._key(one), None):
                counts.setdefault(key, Counter())[accepted(one.answer)[0]] += 1
        self.best = {key: max(sorted(found), key=found.__getitem__) for key, found in counts.items()}

    @staticmethod
    def _key(question: Question) -> tuple[Any, ...]:
        return question.answer_type, kinds(question.question_type)

    def answers(self, asked: Sequence[Question]) -> list[str]:
        """Its answer to each; of a type that was never trained on, the most frequent of all."""
        return [self.best.get(self._key(one), self.best[None]) for one in asked]


def outside(found: Sequence[Answered]) -> Mapping[str, Any]:
    """How many true answers are none of those to choose from, and the first of them."""
    missed = [one for one in found if not one.known]
    first = {"id": missed[0].id, "answer": missed[0].truth} if missed else None
    return {"count": len(missed), "of": len(found), "first": first}
