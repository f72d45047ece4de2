from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus_db.phrases import Hit, Phrases, Words, form

PHRASES = Phrases(
    [
        ("modality=CT", "ct; computed tomography"),
        ("modality=CT technique=angiography", "ct angiogram"),
        ("modality=XA", "angiogram"),
        ("modality=US", "US"),
        ("technique=CT_fusion region=head~and~neck", "pet ct"),
        ("", "left ventricle; in the US"),
        ("side=left", "left"),
        ("region=heart", "left ventricle"),
    ]
)


def said(text: str) -> list[tuple[dict[str, str], str]]:
    words = Words(text)
    return [(dict(hit.says), words.shown(hit.first, hit.last)) for hit in PHRASES.find(words)]


def test_the_longest_phrase_at_a_word_counts_and_hides_the_shorter_ones_within() -> None:
    assert said("CT-angiogram, angiogram") == [
        ({"modality": "CT", "technique": "angiography"}, "CT-angiogram"),
        ({"modality": "XA"}, "angiogram"),
    ]


def test_a_phrase_that_says_nothing_hides_its_words_and_one_listed_twice_says_both() -> None:
    assert said("left ventricle") == [({"region": "heart"}, "left ventricle")]
    assert said("seen in the US army") == []


def test_a_word_in_capitals_counts_in_capitals_alone_and_others_in_any_case() -> None:
    assert [words for _, words in said("US shows us a Computed Tomography")] == ["US", "Computed Tomography"]


def test_a_tilde_stands_for_a_space_and_an_underscore_for_itself() -> None:
    assert said("PET CT") == [({"technique": "CT_fusion", "region": "head and neck"}, "PET CT")]


@pytest.mark.parametrize(
    ("word", "expected"),
    [("Kidneys", "kidney"), ("pelvis", "pelvis"), ("sinus", "sinus"), ("mass", "mass"), ("gas", "gas"), ("s", "s")],
)
def test_a_plural_is_compared_as_its_singular_and_other_words_as_they_are(word: str, expected: str) -> None:
    assert form(word) == expected


def test_words_before_and_after_a_place_stop_at_a_mark_and_a_decimal_point_is_none() -> None:
    words = Words("A 1.5 cm mass, left kidney. CT of it")
    assert words.before(words.forms.index("left"), 4) == []
    assert words.before(words.forms.index("mass"), 9) == ["cm", "5", "1", "a"]
    assert words.after(words.forms.index("left") + 1, 5) == ["kidney"]


def test_what_is_shown_stands_on_one_line() -> None:
    assert said("computed\n  tomography") == [({"modality": "CT"}, "computed tomography")]


@given(st.text(st.characters()) | st.text("ctleft. angiorm\n"))
def test_any_string_is_read_and_hits_follow_each_other(text: str) -> None:
    words = Words(text)
    hits: list[Hit] = [*PHRASES.find(words)]
    assert all(one.last <= other.first for one, other in pairwise(hits))
    assert all(0 <= hit.first < hit.last <= len(words.forms) for hit in hits)


def test_a_text_of_a_million_characters_ends() -> None:  # its square would take hours
    assert len(list(PHRASES.find(Words("ct angio left " * 70_000)))) >= 70_000
