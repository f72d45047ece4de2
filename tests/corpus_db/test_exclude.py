import pytest
from sqlalchemy import Engine, insert

from corpus_db import db
from corpus_db.errors import UserError
from corpus_db.exclude import Candidate, EvaluationSet, excluded, load
from corpus_db.gather import table

HELD = EvaluationSet("vqa-rad:test", names={"synpic1"}, sha256s={"held"})


def nothing(_: str) -> dict[str, str]:
    return {}


def pair(key: str, case: str = "c", name: str = "other", sha256: str = "own") -> Candidate:
    return Candidate(f"s:{key}", f"s:{case}", name, sha256)


@pytest.mark.parametrize(
    ("candidate", "told"),
    [
        (pair("1", name="synpic1"), "vqa-rad:test synpic1 (name)"),
        (pair("1", name="SynPic1.JPG"), "vqa-rad:test SynPic1.JPG (name)"),
        (pair("1", sha256="held"), "vqa-rad:test (bytes)"),
        (pair("1", sha256="reencoded"), "vqa-rad:test (pixels)"),
        (pair("1", sha256="cropped"), "vqa-rad:test (near)"),
    ],
)
def test_a_held_image_is_found_by_name_bytes_pixels_and_likeness(candidate: Candidate, told: str) -> None:
    alike = {"reencoded": {"held": "pixels"}, "cropped": {"held": "near"}}
    assert excluded([candidate], [HELD], lambda sha256: alike.get(sha256, {})) == {"s:1": told}


def test_what_is_like_an_image_of_another_set_stays() -> None:
    assert excluded([pair("1", sha256="x")], [HELD], lambda _: {"elsewhere": "near"}) == {}


def test_the_whole_case_of_a_held_image_goes_unless_told_otherwise() -> None:
    pairs = [pair("1", name="synpic1"), pair("2"), pair("3", case="another")]
    assert excluded(pairs, [HELD], nothing) == {
        "s:1": "vqa-rad:test synpic1 (name)",
        "s:2": "vqa-rad:test synpic1 (name), in the same case",
    }
    assert set(excluded(pairs, [HELD], nothing, whole_cases=False)) == {"s:1"}


def filled(address: str) -> Engine:
    engine = db.create(address)
    with engine.begin() as connection:
        connection.execute(insert(table("source")).values(id=1, name="vqa-rad", shape="questions"))
        size = {"bytes": 1, "width": 1, "height": 1, "mode": "L", "format": "PNG", "path": "images/a"}
        connection.execute(insert(table("image")).values(sha256="held", **size))
        rows = [("1", "synpic1", "held", "test"), ("2", "synpic2", None, "test"), ("3", "synpic3", None, "train")]
        names = ("upstream_id", "image_name", "image_sha256", "split")
        base = {"source_id": 1, "question": "q", "answer": "a", "language": "en"}
        connection.execute(insert(table("question")), [base | dict(zip(names, row, strict=True)) for row in rows])
    return engine


def test_a_set_is_one_split_or_all_of_them(fresh_db: str) -> None:
    with filled(fresh_db).connect() as connection:
        test, everything = load(connection, ["vqa-rad:test", "vqa-rad"])[::-1]
    assert (test.names, test.sha256s) == ({"synpic1", "synpic2"}, {"held"})
    assert everything.names == {"synpic1", "synpic2", "synpic3"}


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("slake:test", r"\(there: vqa-rad\); import it first: python cli.py import SOURCE PATH"),
        ("vqa-rad:dev", "it has test, train"),
    ],
)
def test_a_set_that_is_not_here_is_refused_with_what_to_do(fresh_db: str, spec: str, says: str) -> None:
    with filled(fresh_db).connect() as connection, pytest.raises(UserError, match=says):
        load(connection, [spec])
