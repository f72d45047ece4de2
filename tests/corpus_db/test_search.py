import itertools
import unicodedata

import pytest
from sqlalchemy import Engine, select, update

from corpus_db import db
from corpus_db.errors import UserError
from corpus_db.gather import table
from corpus_db.search import parse, render_search, search
from corpus_db.version import make_current
from tests.corpus_db.corpus import READERS, build, fill

CAPTIONS = (
    "Free fluid in the left upper quadrant near the spleen.",
    "No effusion. The spleen holds no free fluid.",
    "Pleural effusions, T2-weighted/FLAIR; 3.5 cm at 1e5 Gy (see http://example.org/a_b).",
    "Sjögren's disease: Fluid, fluid everywhere; ÉPANCHEMENT.",
    "The T2 hyperintense lesion was weighted by nobody - mass.effect@home 10x3 mm",
    "spleen-fluid interface; masses and a mass",
    "\u03b1-fetoprotein raised → 5µm “quoted” naïve",
)


@pytest.fixture
def engine(fresh_db: str) -> Engine:
    made = db.create(fresh_db)
    fill(made, cases=(len(CAPTIONS) + 1) // 2)
    build(made, READERS)
    with made.begin() as connection:  # past the cleaning, so that odd captions reach the index
        frozen = table("version_pair")
        ids = connection.execute(select(frozen.c.pair_id).order_by(frozen.c.pair_id)).scalars().all()
        for pair_id, caption in zip(ids, [*CAPTIONS, *["Nothing."] * len(ids)], strict=False):
            connection.execute(update(frozen).where(frozen.c.pair_id == pair_id).values(caption=caption))
        make_current(connection, 1)
    return made


def words_of(caption: str) -> list[str]:
    """An index's words, said another way: character by character."""
    plain = "".join(c for c in unicodedata.normalize("NFD", caption) if not unicodedata.combining(c)).lower()
    return "".join(c if c.isalnum() else " " for c in plain).split()


def expected(holds: object) -> set[str]:
    assert callable(holds)
    return {caption for caption in CAPTIONS if holds(words_of(caption))}


def hits(engine: Engine, words: str) -> set[str]:
    found = search(engine, words, limit=100)
    assert found.total == len(found.pairs)
    return {pair["caption"] for pair in found.pairs}


def test_every_word_of_every_caption_is_found_where_it_stands_and_nowhere_else(engine: Engine) -> None:
    vocabulary = {word for caption in CAPTIONS for word in words_of(caption)} | {"flui", "effus", "xyz"}
    wrong = {word for word in vocabulary if hits(engine, word) != expected(lambda words, word=word: word in words)}
    assert wrong == set()


def test_words_near_each_other_are_found_in_either_order_within_the_distance(engine: Engine) -> None:
    def near(words: list[str], a: str, b: str, between: int) -> bool:
        places = itertools.product(*([at for at, word in enumerate(words) if word == side] for side in (a, b)))
        return any(abs(one - other) - 1 <= between for one, other in places)

    for a, b in (("fluid", "spleen"), ("spleen", "fluid"), ("t2", "weighted"), ("left", "free")):
        for between in (0, 1, 3, 6):
            want = expected(lambda words, a=a, b=b, between=between: near(words, a, b, between))
            assert hits(engine, f"{a} NEAR/{between} {b}") == want, (a, b, between)


def test_quoted_words_stand_side_by_side_and_so_do_the_parts_of_a_compound(engine: Engine) -> None:
    def phrase(*asked: str) -> set[str]:
        return expected(lambda words: any(words[at : at + len(asked)] == [*asked] for at in range(len(words))))

    for words, asked in (
        ('"free fluid"', ("free", "fluid")),
        ("T2-weighted", ("t2", "weighted")),
        ("3.5", ("3", "5")),
        ("mass.effect@home", ("mass", "effect", "home")),
        ("http://example.org/a_b", ("http", "example", "org", "a", "b")),
    ):
        assert hits(engine, words) == phrase(*asked) != set(), words


def test_all_words_must_be_there_and_case_and_diacritics_do_not_matter(engine: Engine) -> None:
    assert hits(engine, "FLUID spleen") == expected(lambda words: {"fluid", "spleen"} <= set(words))
    assert hits(engine, "SJOGREN epanchement") == hits(engine, "Sjögren Épanchement") == {CAPTIONS[3]}


def test_a_word_is_not_stemmed_and_a_star_stands_for_any_ending(engine: Engine) -> None:
    assert hits(engine, "effusion") == {CAPTIONS[1]}
    assert hits(engine, "effus*") == {CAPTIONS[1], CAPTIONS[2]}
    assert hits(engine, "the") == expected(lambda words: "the" in words)


def test_operators_of_the_engines_mean_nothing_and_anything_may_be_asked(engine: Engine) -> None:
    odd = (
        "' OR 1=1 --",
        'fluid"',
        "fluid) | (spleen",
        "a:b & !c <-> d",
        "\ud83d fluid",
        "a\0b",
        "💀 x",
        "x" * 200,
        "²",
    )
    for words in odd:
        assert hits(engine, words) <= set(CAPTIONS), words
    assert hits(engine, "fluid AND nothere") == hits(engine, "fluid OR spleen") == set()


NOTHING = (
    "",
    " - ",
    '"',
    "\0",
    "NEAR/3",
    "a NEAR/3",
    "NEAR/3 a",
    "a NEAR/99 b",
    "a NEAR/3 a",
    "a NEAR/x b",
    "a near/ b",
    "x " * 101,
    "y" * 3000,
)


@pytest.mark.parametrize("words", NOTHING)
def test_what_cannot_be_looked_for_is_one_clear_line(words: str) -> None:
    with pytest.raises(UserError) as told:
        parse(words)
    assert "\n" not in str(told.value) and len(str(told.value)) < 200


def test_the_first_pairs_by_id_are_shown_and_the_rest_counted(engine: Engine) -> None:
    found = search(engine, "fluid", limit=1)
    assert found.total > 1 and len(found.pairs) == 1
    lines = render_search(found)
    assert lines[0] == f"medpix:11  CT  {CAPTIONS[0]}" and lines[-1] == f"... and {found.total - 1} more (--limit)"
    assert render_search(search(engine, "nowhere")) == ["no caption holds these words"]
