import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus_db.clean import RULES, clean
from corpus_db.text import storable

# escapes, controls and marks are rare in plain random text: mix them in
PIECES = st.sampled_from(
    ["\\u0000", "\\ud83d", "\\u00", "00", "\\", "u0000", "\0", "\ud800", "\u200b", "\n", " ", "N/A", "a"]
)
RAW = st.one_of(st.text(), st.lists(st.one_of(PIECES, st.text(max_size=3))).map("".join))


@given(RAW)
def test_cleaning_is_idempotent_and_never_raises(raw: str) -> None:
    once = clean(raw)
    again = clean(once.text)
    assert (again.text, again.edits, again.drop_reason) == (once.text, (), once.drop_reason)


@given(RAW)
def test_edits_lead_from_raw_to_text(raw: str) -> None:
    found, text = clean(raw), raw
    for edit in found.edits:
        assert edit.before == text != edit.after
        text = edit.after
    assert text == found.text


@given(RAW)
def test_nothing_is_added_and_what_is_left_can_be_stored(raw: str) -> None:
    found = clean(raw).text
    rest = iter(raw)
    assert all(character == " " or character in rest for character in found)
    assert storable(found) == found == found.strip()
    assert not set(found) & set("\0\n\r\t\x1b\x7f\u202e\u200b")


def test_rules_are_named_once_with_a_reason() -> None:
    assert [rule.name for rule in RULES] == ["unstorable", "whitespace"]
    assert all(rule.reason for rule in RULES)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("Axial  CT\r\n\r\nof the\thead. ", "Axial CT of the head."),
        ("a\u00a0b\u2028c", "a b c"),
        ("le\u200bsion\u202e, so\u00adft", "lesion, soft"),
        ("mass\\u0000 of \\ud83dthe liver", "mass of the liver"),
        ("x\\u00\\u000000y", "xy"),  # taking one escape out forms another
        ("a\0b\ud800c", "abc"),
        ("lesion <5mm, β-thalassaemia 3\u00d72 cm", "lesion <5mm, β-thalassaemia 3\u00d72 cm"),
        ("C:\\users \\u0041", "C:\\users \\u0041"),
    ],
)
def test_layout_and_unstorable_characters_go(raw: str, text: str) -> None:
    assert clean(raw).text == text


@pytest.mark.parametrize("raw", [None, "", " \n", "\u200b", "\\u0000"])
def test_a_caption_of_nothing_is_empty(raw: str | None) -> None:
    assert clean(raw).drop_reason == "empty"


@pytest.mark.parametrize("raw", ["N/A", "NA.", "none", "None.", "N/C", "nc", "-", "...", "(n/a)", "Not Available."])
def test_a_caption_that_stands_for_nothing_is_a_placeholder(raw: str) -> None:
    assert clean(raw).drop_reason == "placeholder"


@pytest.mark.parametrize("raw", ["NAD", "None of the vessels fill.", "Na 140", "CT", "5"])
def test_a_short_caption_is_kept(raw: str) -> None:
    assert clean(raw).drop_reason is None


@pytest.mark.parametrize(
    "raw", ["\\u00" * 100_000 + "00" * 100_000, " " * 500_000 + "a", "\\u0000" * 100_000, "a \n" * 200_000]
)
def test_cleaning_takes_linear_time(raw: str) -> None:
    start = time.process_time()
    clean(raw)
    assert time.process_time() - start < 2
