from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from corpus_db.read import UserError
from tests.vlt import asked, tiny
from tests.vlt.joined import on_ranks
from tests.vlt.tasks.test_questions import one
from vlt import runs, tasks
from vlt.augment import DRAWS
from vlt.data import UNSCORED
from vlt.device import Place
from vlt.norm import BatchNorm
from vlt.objectives import Objectives, draw
from vlt.tasks import vqa
from vlt.tasks.questions import image_of, question_set, vocabulary_of
from vlt.tasks.vqa import Answering, Frequent, answered, described, outside
from vlt.text import Tokenizer
from vlt.train import Training, part_shares, train

CPU = Place(torch.device("cpu"))
TRAIN, TEST = range(16), range(14, 20)


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("RGC_DATA", str(tmp_path / "data"))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def address(tmp_path):
    return asked.database(tmp_path, asked.two_each(TRAIN), asked.two_each(TEST))


def quiet(line):
    pass


def prepared(data, settings, count=8, answers=None):
    """A batch of the first questions, as the loader makes it."""
    generator = torch.Generator().manual_seed(3)
    batch = draw(data.batch(np.arange(count)), settings, tiny.TOKENIZER, generator)
    if answers is not None:
        batch = replace(batch, answer=torch.tensor(answers))
    return replace(batch, augment=torch.rand(count, DRAWS, generator=generator))


def dataset(address, settings, split="train", answers=("left", "no", "right")):
    task = Answering(question_set("vqa-rad", "official", "en", address), answers)
    return task.dataset(split, settings, tiny.TOKENIZER)


def test_the_frequent_answer_of_a_type_is_what_a_hand_counts():
    closed, open_ = {"answer_type": "closed"}, {"answer_type": "open"}
    training = [
        one(0, "a", answer="Yes", question_type="PRES", **closed),
        one(1, "a", answer="No", question_type="PRES", **closed),
        one(2, "b", answer="no.", question_type="PRSE", **closed),  # misspelt, and still of the type
        one(3, "b", answer="Left#right", question_type="POS", **open_),
        one(4, "c", answer="left", question_type="POS, PRES", **open_),
        one(5, "c", answer="left", question_type="POS, PRES", **open_),
    ]
    asking = [
        one(6, "d", question_type="PRES", **closed),
        one(7, "d", question_type="POS", **open_),
        one(8, "d", question_type="pos,pres", **open_),
        one(9, "d", question_type="SIZE", **open_),  # never seen: the most frequent of all
        one(10, "d", question_type="PRES", **open_),
    ]
    assert Frequent(training).answers(asking) == ["no", "left", "left", "left", "left"]
    tied = [one(0, "a", answer="b"), one(1, "a", answer="a")]
    assert Frequent(tied).answers(tied) == Frequent(tied[::-1]).answers(tied) == ["a", "a"]


def test_a_question_counts_in_its_type_kinds_organ_and_modality():
    told = described(one(0, "a", answer_type="closed", question_type="POS, PRSE", organ="head", modality="CT"))
    assert told.groups == ("closed", "type: pos", "type: pres", "organ: head", "modality: ct")
    assert (told.image, told.right) == ("sha-a", ("yes",))
    assert described(one(0, "a")).groups == ("type unknown", "type: none")


def test_it_trains_on_training_questions_and_validates_on_their_images_never_on_a_test_question(tmp_path, monkeypatch):
    address = asked.database(tmp_path, asked.two_each(range(30)), asked.two_each(range(30, 36)))
    run, task = asked.begun(tmp_path, address, "run", steps=4, evaluate_every=2, patience=3)
    seen = {"asked": set(), "trained": set()}
    answer, step = vqa.answered, Training.step

    def watched(model, data, *rest, **more):
        seen["asked"] |= set(data.names)
        return answer(model, data, *rest, **more)

    def stepped(training, parts, *rest):
        seen["trained"] |= {int(image) for part in parts for image in part.image_id}
        return step(training, parts, *rest)

    monkeypatch.setattr(vqa, "answered", watched)
    monkeypatch.setattr(Training, "step", stepped)
    train(run, task, quiet)
    val = task.questions.splits["val"]
    assert seen["asked"] == {question.upstream_id for question in val} and val
    assert all(name.startswith("train:") for name in seen["asked"])
    validated = set(task.dataset("val", run.config, tiny.TOKENIZER).ids["image_id"].tolist())
    tested = set(task.dataset("test", run.config, tiny.TOKENIZER).ids["image_id"].tolist())
    assert not seen["trained"] & (validated | tested)
    assert {record["kind"] for record in run.records()} == {"start", "eval", "train"}
    assert {"accuracy", "closed", "open"} < set(run.records()[1])


@pytest.mark.parametrize("fusion", ["cross", "merged"])
def test_eight_questions_are_learnt_by_heart_by_the_classifier_and_the_decoder(tmp_path, fusion):
    words = ("left", "right", "both sides", "chest", "x-ray", "2 masses")
    ask = ("Where is it?", "What is seen?")  # each of four images has its own answer to each of both
    told = [
        asked.question(2 * image + place, image, question=ask[place], answer=words[(2 * image + place) % 6])
        for image in (0, 1, 2, 3)
        for place in (0, 1)
    ]
    found = question_set("vqa-rad", "official", "en", asked.database(tmp_path, told, [], range(4)))
    some = found.splits["train"]
    assert len(some) == 8
    names = Tokenizer.train([*ask, *words], 200)
    task = Answering(found, vocabulary_of(some))
    settings = asked.config(
        fusion=fusion, steps=90, rate=3e-3, dropout=0.0, drop_path=0.0, augment=False, max_tokens=24,
        backbone="vit_nano", objectives={"answer": 1.0, "lm": 1.0},
    )  # fmt: skip
    stream, _ = task.data(settings, names, quiet, CPU)
    training = Training(settings, names, CPU, answers=len(task.answers))
    for step in range(settings.steps):
        training.step(stream.batch(step), step)
    data = task.dataset("train", settings, names)
    answers = answered(training.model.eval(), data, names, task.answers, CPU.device, beams=2)
    assert [one.output for one in answers] == [one.said for one in answers]
    assert all(one.right and one.known and one.score > 0.5 for one in answers)
    scores = task.evaluate(training.model.train(), data, names, CPU.device)
    assert scores == {"accuracy": 1.0, "closed": 1.0, "open": 1.0} and training.model.training


@pytest.mark.parametrize("fusion", ["cross", "merged"])
def test_the_decoder_is_asked_for_the_answer_alone(address, fusion):
    settings = asked.config(fusion=fusion, objectives={"lm": 1.0}, dropout=0.0, drop_path=0.0)
    batch, model = prepared(dataset(address, settings), settings), tiny.model(settings).eval()
    objectives = Objectives(model, settings)

    @torch.no_grad()
    def loss(some):
        return objectives.captioning(some, model.encode_image(some.images))

    outcome = loss(batch)
    told, count = 0.0, 0
    for row in range(8):  # by hand: each token of the answer and [SEP], behind the question and the image
        ids = batch.said[row][batch.said[row] != tiny.TOKENIZER.pad]
        begin = int((batch.said_labels[row] != UNSCORED).int().argmax())
        present = torch.ones(1, len(ids), dtype=torch.bool)
        text = model.encode_text(ids[None], present, "seq2seq")
        image = model.encode_image(batch.images[row : row + 1])
        logits = model.word_logits(model.fuse(text, image, present, "seq2seq").text)[0]
        told += F.cross_entropy(logits[begin - 1 : -1], ids[begin:], reduction="sum").item()
        count += len(ids) - begin
    assert int(outcome.asked) == count and float(outcome.loss) == pytest.approx(told / count, rel=1e-4)
    other = batch.tokens.clone()
    other[:, 1] = tiny.TOKENIZER.mask
    assert torch.equal(loss(replace(batch, tokens=other)).loss, outcome.loss)  # a question's words are no labels
    labels = batch.said_labels.clone()
    place = int((labels[0] != UNSCORED).int().argmax())
    labels[0, place] = int(tiny.TOKENIZER.plain[-1])
    assert not torch.equal(loss(replace(batch, said_labels=labels)).loss, outcome.loss)


def test_questions_whose_answer_is_none_of_those_to_choose_from_count_for_nothing(address):
    settings = asked.config(objectives={"answer": 1.0}, dropout=0.0, drop_path=0.0)
    torch.manual_seed(0)
    training = Training(settings, tiny.TOKENIZER, CPU, answers=3)
    data = dataset(address, settings)
    batch = prepared(data, settings, answers=[0, UNSCORED, 2, 1, UNSCORED, 0, UNSCORED, 2])
    model = training.model.eval()
    outcome = Objectives(model, settings)(batch)["answer"]
    text = model.encode_text(batch.tokens, batch.present)
    logits = model.answer_logits(text, model.encode_image(batch.images), batch.present)
    known = batch.answer != UNSCORED
    assert outcome.loss.item() == pytest.approx(F.cross_entropy(logits[known], batch.answer[known]).item(), rel=1e-5)
    assert int(outcome.asked) == 5
    assert int(outcome.correct) == int((logits.argmax(1)[known] == batch.answer[known]).sum())
    nothing = prepared(data, settings, answers=[UNSCORED] * 8)
    told = training.step([nothing], 0)
    assert told.learnt and told.sums["answer"] == [0.0, 0.0, 0.0]


def test_the_parts_of_a_batch_teach_answers_as_the_whole_does(address, monkeypatch):
    monkeypatch.setattr(BatchNorm, "forward", lambda norm, x: x)  # it norms a part alone
    settings = asked.config(augment=False, dropout=0.0, drop_path=0.0, clip=0.0)
    whole = prepared(dataset(address, settings), settings, answers=[0, UNSCORED, 2, 1, UNSCORED, UNSCORED, 1, 2])
    labels = whole.said_labels.clone()
    labels[0, :-1] = torch.where(labels[0, 1:] == UNSCORED, UNSCORED, labels[0, :-1])  # answers of several lengths
    whole = replace(whole, said_labels=labels)
    shares = part_shares([whole.part(number, 4) for number in range(4)])
    assert [float(share) for share in shares["answer"]] == pytest.approx([0.2, 0.4, 0.0, 0.4])
    assert len({float(share) for share in shares["lm"]}) > 1 and sum(shares["lm"]) == pytest.approx(1.0)
    told, gradients = [], []
    for count in (1, 2, 4):
        training = Training(settings, tiny.TOKENIZER, CPU, answers=3)
        told.append(training.step([whole.part(number, count) for number in range(count)], 0))
        gradients.append(torch.cat([p.grad.flatten() for p in training.model.parameters() if p.grad is not None]))
    for other, gradient in zip(told[1:], gradients[1:], strict=True):
        for name, (loss, correct, count) in told[0].sums.items():
            assert other.sums[name] == pytest.approx([loss, correct, count], rel=1e-5)
        assert (gradient - gradients[0]).norm() < 1e-4 * gradients[0].norm()


def losses(run):
    records = [record for record in run.records() if record["kind"] in ("train", "eval")]
    return [{name: value for name, value in one.items() if name.endswith(("_loss", "accuracy"))} for one in records]


def test_two_ranks_learn_answers_as_one_does(tmp_path, address):
    same = {"dropout": 0.0, "drop_path": 0.0, "steps": 4, "evaluate_every": 4, "backbone": "vit_nano", "patience": 2}
    kinds = {"whole": {}, "in parts": {"accumulate": 2, "fusion": "merged"}}
    alone, joined = {}, {}
    for name, more in kinds.items():
        alone[name], task = asked.begun(tmp_path, address, f"{name} alone", **same, **more)
        assert any(
            UNSCORED in part.answer for part in task.data(alone[name].config, tiny.TOKENIZER, quiet, CPU)[0].batch(0)
        )
        train(alone[name], task, quiet)
        joined[name] = asked.begun(tmp_path, address, name, **same, **more)[0]
    assert "on cpu x 2" in on_ranks(list(joined.values()), program="tests.vlt.asked")[0]
    for name, two in joined.items():
        for a, b in zip(losses(alone[name]), losses(two), strict=True):
            assert a.keys() == b.keys() and a == pytest.approx(b, rel=2e-4)
        assert {"answer_loss", "lm_loss", "answer_accuracy"} <= set(losses(two)[-2])
        before, after = (
            torch.load(max(run.checkpoints.glob("*.pt")), weights_only=True)["model"] for run in (alone[name], two)
        )
        assert sum((before[key] - after[key]).float().norm() ** 2 for key in before) ** 0.5 < 1e-2


@pytest.mark.parametrize("fusion", ["cross", "merged"])
def test_what_a_blind_twin_answers_does_not_depend_on_the_image(address, fusion):
    answers = ["left", "no", "right", "yes"]
    told = {}
    for blind in (True, False):
        settings = asked.config(fusion=fusion, blind=blind, backbone="vit_nano")
        task = Answering(question_set("vqa-rad", "official", "en", address), answers)
        data = task.dataset("test", settings, tiny.TOKENIZER)
        model = Training(settings, tiny.TOKENIZER, CPU, answers=4).model.eval()
        with torch.no_grad():
            for head in (model.heads["answer"], model.heads["word"]):
                for parameter in head.parameters():
                    parameter.normal_()
        kept = data.where
        told[blind] = []
        for order in (np.arange(len(kept)), np.arange(len(kept))[::-1].copy()):
            data.where = kept[order]
            told[blind].append(answered(model, data, tiny.TOKENIZER, answers, CPU.device, beams=1))
    assert told[True][0] == told[True][1] and told[False][0] != told[False][1]


def test_a_blind_model_needs_no_image_at_all(tmp_path):
    address = asked.database(tmp_path, asked.two_each(TRAIN), asked.two_each(TEST), [])
    found = question_set("vqa-rad", "official", "en", address, blank=True)
    settings = asked.config(blind=True, steps=1)
    task = Answering(found, ["left", "no"])
    assert len(task.dataset("test", settings, tiny.TOKENIZER)) == 2 * len(TEST)
    assert not task.dataset("test", settings, tiny.TOKENIZER).images(np.arange(3)).any()
    run = runs.create(tmp_path / "runs" / "blind", settings, [found], tiny.TOKENIZER, answers=task.answers)
    train(run, tasks.of(run), quiet)  # read again by what the run keeps
    assert (run.folder / "model.safetensors").exists()


def test_answers_are_the_same_one_at_a_time_and_their_score_is_their_probability(address, monkeypatch):
    settings = asked.config(backbone="vit_nano", fusion_layers=1)
    data = dataset(address, settings, "test")
    model = Training(settings, tiny.TOKENIZER, CPU, answers=3).model.eval()
    together = answered(model, data, tiny.TOKENIZER, ["left", "no", "right"], CPU.device, beams=2)
    monkeypatch.setattr(vqa, "AT_ONCE", 1)
    alone = answered(model, data, tiny.TOKENIZER, ["left", "no", "right"], CPU.device, beams=2)
    for one_, other in zip(together, alone, strict=True):
        assert replace(one_, score=0) == replace(other, score=0) and one_.score == pytest.approx(other.score, rel=1e-4)
    batch = data.batch(np.arange(len(data)))
    with torch.no_grad():
        text = model.encode_text(batch.tokens, batch.present)
        shares = model.answer_logits(text, model.encode_image(batch.images), batch.present).softmax(1)
    assert [one_.score for one_ in together] == pytest.approx(shares.max(1).values.tolist(), rel=1e-4)
    assert [one_.known for one_ in together] == [one_.truth.lower() in ("left", "no", "right") for one_ in together]
    assert outside(together) == {"count": 3, "of": 12, "first": {"id": "test:29", "answer": "Yes"}}


def test_a_model_that_only_writes_answers_by_what_it_writes(address):
    settings = asked.config(backbone="vit_nano", objectives={"lm": 1.0}, fusion_layers=1)
    model = Training(settings, tiny.TOKENIZER, CPU).model.eval()
    told = answered(model, dataset(address, settings, "test", ()), tiny.TOKENIZER, (), CPU.device, beams=1)
    assert all(one_.output == one_.said and one_.score < 0 and not one_.known for one_ in told)


def test_an_image_that_cannot_be_read_leaves_its_questions_out_and_is_told(tmp_path, address):
    found = question_set("vqa-rad", "official", "en", address)
    broken = {image_of(question) for question in found.splits["test"][:2]}
    for sha256, path in found.images.items():
        if sha256 in broken:
            Path(path).write_bytes(b"no image")
    said, settings = [], asked.config()
    task = Answering(found, ["left"])
    assert len(task.dataset("test", settings, tiny.TOKENIZER, said.append)) == 2 * len(TEST) - 2
    assert any("1 of 20 images cannot be read and are left out" in line for line in said)
    for question in found.splits["test"]:
        Path(question.image_path).write_bytes(b"no image")
    other = Answering(replace(found, protocol="x"), ["left"])  # packed anew
    with pytest.raises(UserError, match="no question to test with an image that can be read"):
        other.dataset("test", settings, tiny.TOKENIZER)
