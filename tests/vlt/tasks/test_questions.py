import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from corpus_db import db, importers
from corpus_db.read import Question, UserError
from tests.vlt import asked, tiny
from vlt.data import UNSCORED, joined
from vlt.pack import Pack, pack_images
from vlt.tasks import questions
from vlt.tasks.questions import QuestionDataset, again, image_of, question_set, shared_images, vocabulary_of

REAL = pytest.mark.skipif("RGC_REAL_DATA" not in os.environ, reason="RGC_REAL_DATA is not set: no real questions")
TRAIN, TEST = range(30), range(20, 36)  # ten test images stand in training, too


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("RGC_DATA", str(tmp_path / "data"))


@pytest.fixture
def address(tmp_path):
    return asked.database(tmp_path, asked.two_each(TRAIN), asked.two_each(TEST))


def images(found, *names):
    return {image_of(one) for name in names for one in found.splits[name]}


def ids(found, name):
    return [one.upstream_id for one in found.splits[name]]


def placed(found):
    return {one.upstream_id: name for name, some in found.splits.items() for one in some}


def one(number, image, *, split="train", language="en", answer="yes", **more):
    """A question as the door of the corpus gives it, its image here."""
    told = dict.fromkeys(("answer_type", "question_type", "organ", "modality"))
    given = {"source": "set", "upstream_id": f"q{number}", "image_name": image, "image_sha256": f"sha-{image}"}
    given |= {"image_path": f"/{image}.png", "question": "What?", "answer": answer, "split": split}
    return Question(**{**told, **given, "language": language, **more})


@pytest.fixture
def given(monkeypatch):
    """Puts questions in the place of a database's."""
    monkeypatch.setattr(questions, "database", lambda db: db or "built.db")
    return lambda some: monkeypatch.setattr(questions, "read_questions", lambda *_: list(some))


def test_the_official_splits_stay_and_a_tenth_of_the_training_images_validates(address):
    found = question_set("vqa-rad", "official", "en", address)
    assert ids(found, "test") == [f"test:{2 * image + place}" for image in TEST for place in (0, 1)]
    assert not images(found, "val") & images(found, "train") and found.splits["val"]
    assert len(found.splits["train"]) + len(found.splits["val"]) == 60
    assert all(one.startswith("train:") for one in ids(found, "val"))
    assert shared_images(found) == 10  # it leaks, and tells so
    assert found.left_out == {} and len(found.images) == 36


def test_which_images_validate_does_not_depend_on_what_else_is_asked(tmp_path, address):
    found = question_set("vqa-rad", "official", "en", address)
    more = [*asked.two_each(range(36, 40)), *asked.two_each(reversed(TRAIN))]
    other = asked.database(tmp_path / "b", more, asked.two_each([20]))
    wider = question_set("vqa-rad", "official", "en", other)
    shared = images(found, "train", "val")
    assert images(wider, "val") & shared == images(found, "val")


def test_image_disjoint_shares_no_image_and_is_of_the_image_alone(tmp_path, given):
    some = [one(number, f"i{number % 300}", split=("train", "test")[number % 2]) for number in range(900)]
    given(some)
    found = question_set("set", "image-disjoint")
    parts = [images(found, name) for name in ("train", "val", "test")]
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2]) and shared_images(found) == 0
    assert [len(part) / 300 for part in parts] == pytest.approx([0.75, 0.10, 0.15], abs=0.05)
    where = placed(found)
    chance = np.random.default_rng(0)
    given([some[place] for place in chance.permutation(len(some))])
    assert placed(question_set("set", "image-disjoint")) == where
    given([*(one(f"more{number}", f"j{number}") for number in range(100)), *some[::2]])
    fewer = placed(question_set("set", "image-disjoint"))
    assert all(where[key] == name for key, name in fewer.items() if key in where) and len(fewer) == 550
    other = {"answer": "no", "question": "Else?", "split": "val"}
    given([replace(question, upstream_id=f"{question.upstream_id}b", **other) for question in some])
    assert placed(question_set("set", "image-disjoint")) == {f"{key}b": name for key, name in where.items()}


def test_an_image_is_known_by_its_bytes_or_else_by_its_name(given):
    twins = [replace(one(number, f"name{number}"), image_sha256="same") for number in range(40)]
    given([*twins, *(one(100 + number, f"i{number}") for number in range(40))])
    where = placed(question_set("set", "image-disjoint"))
    assert len({where[twin.upstream_id] for twin in twins}) == 1
    assert image_of(replace(twins[3], image_sha256=None)) == "set:name3"


def test_in_all_languages_the_images_of_tests_and_of_validation_leave_training(given):
    some = [
        one(0, "a", language="en", split="test"),
        one(1, "a", language="zh", split="train"),
        one(2, "a", language="zh", split="val"),
        one(3, "b", language="en", split="val"),
        one(4, "b", language="zh", split="train"),
        one(5, "c", language="zh", split="train"),
        one(6, "d", language="en", split="train"),
    ]
    given(some)
    found = question_set("set", "official", "all")
    assert {name: ids(found, name) for name in found.splits} == {"train": ["q5", "q6"], "val": ["q3"], "test": ["q0"]}
    assert set(*found.left_out.values()) == {"q1", "q2", "q4"} and shared_images(found) == 0
    alone = question_set("set", "official", "zh")
    assert {one.language for some in alone.splits.values() for one in some} == {"zh"} and not alone.left_out


def test_what_cannot_be_asked_is_left_out_and_told(tmp_path):
    training = [*asked.two_each(range(20)), asked.question(100, 1, answer="?"), asked.question(101, 2, answer="#")]
    address = asked.database(tmp_path, [*training, *asked.two_each([38])], asked.two_each([3, 39]), range(30))
    found = question_set("vqa-rad", "official", "en", address)
    assert found.left_out == {
        "no answer": ("train:100", "train:101"),
        "its image is not here": ("train:76", "train:77", "test:78", "test:79"),
    }
    assert not {"train:100", "train:76", "test:78"} & set(placed(found))
    blank = question_set("vqa-rad", "official", "en", address, blank=True)  # for models that see none
    assert set(blank.left_out) == {"no answer"} and {"train:76", "test:78"} <= set(placed(blank))


def test_what_is_not_there_is_told_in_a_line(address, tmp_path):
    with pytest.raises(UserError, match=r"slake: no such questions; sources here: vqa-rad"):
        question_set("slake", db=address)
    with pytest.raises(UserError, match=r"vqa-rad: no questions in 'zh'; there are en, or give all"):
        question_set("vqa-rad", "official", "zh", address)
    with pytest.raises(UserError, match=r"protocol 'other': give one of official, image-disjoint"):
        question_set("vqa-rad", "other", "en", address)
    bare = asked.database(tmp_path / "bare", asked.two_each(TRAIN), [], [])
    with pytest.raises(UserError, match=r"no training question is left: 60 are left out, its image is not here, the f"):
        question_set("vqa-rad", "official", "en", bare)


def test_a_set_is_read_again_by_what_its_run_keeps_wherever_it_lies_now(tmp_path, address):
    for blank in (False, True):
        found = question_set("vqa-rad", "image-disjoint", "en", address, blank=blank)
        told = json.loads(json.dumps(found.told()))
        assert again(told) == found and again(told).sha256 == told["manifest_sha256"]
        assert (told["version"], told["pairs"]) == ("vqa-rad/image-disjoint/en", 92)
    bare = asked.database(tmp_path / "bare", asked.two_each(TRAIN), asked.two_each(TEST), [])
    blind = question_set("vqa-rad", "official", "en", bare, blank=True)
    assert again(blind.told()) == blind  # as it began, though it has no image
    moved = tmp_path / "moved.db"
    Path(address).rename(moved)
    assert again(told, str(moved)).splits == found.splits
    with pytest.raises(UserError, match="no set of questions"):
        again({"version": "v1", "database": address})


def test_a_run_of_a_version_that_told_no_blank_is_read_with_its_images(address):
    found = question_set("vqa-rad", "official", "en", address)
    told = json.loads(json.dumps(found.told()))
    del told["questions"]["blank"]
    assert again(told) == found


def test_the_hash_of_a_set_tells_another_answer_and_another_split(given):
    some = [one(number, f"i{number}") for number in range(30)]
    given(some)
    before = question_set("set").sha256
    assert question_set("set").sha256 == before != question_set("set", "image-disjoint").sha256
    given([*some[:-1], replace(some[-1], answer="no")])
    assert question_set("set").sha256 != before


def data(some, tokenizer=tiny.TOKENIZER, answers=("left", "right", "yes"), max_tokens=24):
    return QuestionDataset(some, Pack.empty("0" * 64, 32), tokenizer, answers, channels=1, max_tokens=max_tokens)


def test_a_question_is_labelled_by_the_answers_there_are_and_says_its_answer_alone():
    some = [
        one(0, "a", question="On the left?", answer="Yes."),
        one(1, "b", answer="shows (a) mass#left"),
        one(2, "c", answer="none of these"),
    ]
    batch = data(some).batch(np.arange(3))
    assert batch.answer.tolist() == [2, 0, UNSCORED]
    assert vocabulary_of(some) == ["none of these", "shows mass", "yes"]
    names = tiny.TOKENIZER
    answers = ("yes", "shows mass", "none of these")
    for row, answer in enumerate(answers):
        question, told = (names.encode(text, 24).ids for text in (some[row].question, answer))
        whole = [*question, *told[1:]]
        assert batch.said[row, : len(whole)].tolist() == whole and (batch.said[row, len(whole) :] == names.pad).all()
        labels = batch.said_labels[row]
        assert labels[labels != UNSCORED].tolist() == told[1:] and (labels[: len(question)] == UNSCORED).all()
    assert torch.equal(batch.present, batch.tokens != names.pad)


@pytest.mark.parametrize("most", [16, 20, 24])
def test_no_batch_is_longer_than_the_model_has_places(most):
    some = [one(0, "a", question="head " * 40, answer="left lobe " * 20), one(1, "b", question="head " * (most - 3))]
    batch = data(some, max_tokens=most).batch(np.arange(2))
    for tokens in (batch.tokens, batch.said, batch.said_labels):
        assert tokens.shape == (2, most)
    begin = (batch.said_labels != UNSCORED).int().argmax(1)
    assert (begin <= most - 8).all() and (batch.said_labels != UNSCORED).sum(1).tolist()[0] == 8  # room for an answer
    asked_ = tiny.TOKENIZER.prompt("head " * 40, most)
    assert len(asked_) == most - 8 and (asked_[0], asked_[-1]) == (tiny.TOKENIZER.cls, tiny.TOKENIZER.sep)
    model = tiny.model(tiny.config(max_tokens=most, objectives={"lm": 1.0}, fusion_layers=1))
    assert model.encode_text(batch.said, batch.said != tiny.TOKENIZER.pad).shape[1] == most


def test_questions_of_one_image_are_one_case_and_get_its_pixels(address):
    found = question_set("vqa-rad", "official", "en", address)
    packed = pack_images("questions", found.sha256, found.images, 32)
    some = found.splits["test"]
    rows = QuestionDataset(some, packed, tiny.TOKENIZER, ["yes"], channels=1, max_tokens=24)
    batch = rows.batch(np.array([0, 1, 2]))
    assert batch.image_id[0] == batch.image_id[1] != batch.image_id[2] and (batch.case_id == batch.image_id).all()
    assert torch.equal(batch.images[0], batch.images[1]) and not torch.equal(batch.images[0], batch.images[2])
    pixels = np.random.default_rng(TEST[0]).integers(0, 256, (32, 32), dtype=np.uint8)
    assert (batch.images[0, 0].numpy() == pixels).all()
    assert joined([batch], tiny.TOKENIZER.pad) is batch
    assert rows.batch(np.array([0, 1]), images=False).images.shape == (2, 0)


@REAL
def test_the_real_sets_leak_as_it_is_told_and_not_under_the_other_protocol(tmp_path):
    folder, address = Path(os.environ["RGC_REAL_DATA"]), str(tmp_path / "real.db")
    engine = db.create(address)
    for name in ("vqa-rad", "slake"):
        importers.run(engine, name, folder / name.replace("-", "_"))
    engine.dispose()
    official = question_set("vqa-rad", "official", "en", address)
    assert {name: len(some) for name, some in official.splits.items()} == {"train": 2855, "val": 209, "test": 451}
    assert len(images(official, "test")) == shared_images(official) == 203
    apart = question_set("vqa-rad", "image-disjoint", "en", address)
    assert shared_images(apart) == 0 and sum(map(len, apart.splits.values())) == 3515
    english = question_set("slake", "official", "en", address, blank=True)
    assert {name: len(some) for name, some in english.splits.items()} == {"train": 4918, "val": 1053, "test": 1061}
    assert shared_images(english) == 0 and english.left_out == {"no answer": english.left_out["no answer"]}
    both = question_set("slake", "official", "all", address, blank=True)
    assert shared_images(both) == 0 and not images(both, "train") & images(both, "val")
    assert len(both.splits["test"]) == 2094 and len(both.left_out["image of another language's test"]) == 3253
