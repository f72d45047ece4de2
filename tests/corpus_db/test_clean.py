import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus_db import cleaning, deidentify
from corpus_db.clean import RULES, clean, clean_file, rules_table
from corpus_db.cleaning.rule import Caseless
from corpus_db.errors import UserError
from corpus_db.text import storable

# noise is rare in plain random text: mix it in
PIECES = st.sampled_from(
    [
        "\\u0000",
        "\\ud83d",
        "\\u00",
        "00",
        "\\",
        "u0000",
        "\0",
        "\ud800",
        "\u200b",
        "\n",
        " ",
        "  ",
        "\t",
        "N/A",
        "a",
        "Figure 1",
        "Fig. 2a: ",
        "(arrow)",
        "(R) ",
        "R ",
        "L. ",
        "Rt ",
        "(a)",
        "(",
        ")",
        ".",
        ", ",
        ": ",
        "; ",
        " - ",
        "- ",
        "1) ",
        "2) ",
        "\u2022 ",
        "*",
        "?",
        "What is this?",
        "See ",
        "image 1 of 6",
        "same patient as in ",
        "A - Aorta",
        "L = liver",
        "CT ",
        "T1",
        "L4",
        "LUL",
        "3.5 cm",
        "5 mm",
        "no ",
        "not ",
        "left ",
        "right ",
        "PMID: 12345678",
        "http://a.bc/d",
        "et al. 2004",
        "2004;3:112-118",
        "Dr. Jane Roe",
        "Larkmoor Hospital ",
        "3 March 2008",
        "93-year-old woman",
        "courtesy of ",
        "TR 500",
        "TE 20",
        "<b>",
        "<br>",
        "&lt;",
        "&amp;",
        "\u201c",
        "\u2013",
        "e\u0301",
        "SHOWS A MASS ",
        "arrowhead sign",
        "The patient presented with pain. ",
        "A mass. ",
    ]
)
RAW = st.one_of(st.text(), st.lists(st.one_of(PIECES, st.text(max_size=3)), max_size=12).map("".join))


@given(RAW)
@settings(max_examples=400)
def test_a_kept_caption_cleans_to_itself(raw: str) -> None:
    once = clean(raw)
    if once.drop_reason is None:
        again = clean(once.text)
        assert (again.text, again.edits, again.drop_reason) == (once.text, (), None)


@given(RAW)
@settings(max_examples=200)
def test_edits_lead_from_raw_to_text(raw: str) -> None:
    found, text = clean(raw), raw
    for edit in found.edits:
        assert edit.before == text != edit.after
        text = edit.after
    assert text == found.text


@given(RAW)
@settings(max_examples=200)
def test_no_rule_raises_on_any_text(raw: str) -> None:
    for rule in RULES:
        assert isinstance(rule.apply(raw), str)


@given(RAW)
@settings(max_examples=200)
def test_what_is_kept_can_be_stored_and_holds_no_layout(raw: str) -> None:
    found = clean(raw)
    if found.drop_reason is None:
        assert storable(found.text) == found.text == " ".join(found.text.split())
        assert not set(found.text) & set("\0\n\r\t\x1b\x7f\u202e\u200b")


CASELESS = [
    found
    for module in vars(cleaning).values()
    if isinstance(module, ModuleType)
    for found in vars(module).values()
    if isinstance(found, Caseless)
]


@given(st.one_of(RAW, RAW.map(str.upper), RAW.map(str.swapcase)))
@settings(max_examples=200)
def test_a_caseless_pattern_finds_what_ignoring_case_finds(raw: str) -> None:
    assert len(CASELESS) > 20
    for pattern in CASELESS:
        wanted = [found.span() for found in re.finditer(pattern.pattern, raw, re.I)]
        assert [found.span() for found in pattern.finditer(raw)] == wanted, pattern.pattern


# Rules whose work is to take out or to write out facts and words; all others leave them as they are.
EXCEPTIONS = {
    "deid_age",
    "deid_date",
    "deid_email",
    "deid_institution",
    "deid_name",
    "deid_phone",
    "deid_record",
    "deid_attribution",
    "sequence_parameters",
    "cross_reference",
    "bare_follow_up",
    "figure_label",
    "image_of_many",
    "panel_label",
    "one_letter_mark",
    "legend_key",
    "laterality",
    "citation",
    "credit",
    "url",
    "quiz",
    "history",
    "list_marker",
    "inline_list",
    "lines",
    "html",
    "unstorable",
    "unicode",
    "pointer",
}
FACT = re.compile(
    r"\d+(?:\.\d+)?|\b(?:mm|cm|HU|left|right|bilateral|no|not|without|none|never)\b|\b[CTLS]\d{1,2}\b|\w+ sign\b", re.I
)
WORDS = st.sampled_from(
    [
        "no",
        "left",
        "right",
        "3.5 cm",
        "5 mm",
        "mass",
        "liver",
        "shows",
        "CT",
        "L4",
        "T2",
        "-20 HU",
        "without",
        "arrowhead sign",
        "bilateral",
        "lesion,",
        "effusion.",
        "(",
        ")",
        "not",
        "  ",
        ",",
        ";",
        "MASS",
        "NO",
        "cyst.The",
        "*",
        "\\",
    ]
)


@given(st.lists(WORDS, max_size=14).map(" ".join))
@settings(max_examples=300)
def test_no_number_unit_side_negation_or_named_sign_changes_but_by_the_named_rules(raw: str) -> None:
    for rule in RULES:
        if rule.name not in EXCEPTIONS:
            facts = [fact.lower() for fact in FACT.findall(raw)]
            assert [fact.lower() for fact in FACT.findall(rule.apply(raw))] == facts, rule.name


ADDING = {"deid_age", "laterality", "html", "unicode"}  # they write words out, or characters that stood for them


@given(st.one_of(RAW, st.lists(WORDS, max_size=14).map(" ".join)))
@settings(max_examples=300)
def test_no_rule_but_the_named_ones_brings_in_a_word(raw: str) -> None:
    for rule in RULES:
        if rule.name not in ADDING:
            rest = iter(raw.casefold())
            found = rule.apply(raw).casefold()
            assert all(letter in rest for letter in found if letter.isalnum()), rule.name


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_changes_its_example_and_has_a_reason(rule) -> None:
    assert rule.reason
    assert rule.apply(rule.example) != rule.example


def test_rules_are_named_once_and_de_identification_by_its_prefix() -> None:
    names = [rule.name for rule in RULES]
    assert len(names) == len(set(names))
    assert {name for name in names if name.startswith("deid_")} == {rule.name for rule in deidentify.RULES}


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("Axial  CT\r\n\r\nof the\thead. ", "Axial CT of the head."),
        ("a\u00a0b\u2028c", "a b c."),
        ("mass\\u0000 of \\ud83dthe liver", "mass of the liver."),
        ("x\\u00\\u000000y", "xy."),  # taking one escape out forms another
        ("lesion <5mm, \u03b2-thalassaemia 3\u00d72 cm", "lesion <5mm, \u03b2-thalassaemia 3\u00d72 cm."),
        (
            "aorta of 30 mm (normal < 30 mm) &amp; <b>normal</b> trunk",
            "aorta of 30 mm (normal < 30 mm) & normal trunk.",
        ),
        ("A\u2013B \u201cbat sign\u201d of Looser\u2019s", 'A-B "bat sign" of Looser\'s.'),
        ("- a cyst\n- two stones of 3 mm", "A cyst. Two stones of 3 mm."),
        ("1.6 x 1.8cm nodule", "1.6 x 1.8cm nodule."),
        ("HORSESHOE KIDNEY AT L4 WITH HODGKIN LYMPHOMA ON CT", "Horseshoe kidney at L4 with Hodgkin lymphoma on CT."),
        ("Figure 1 \u2013 Axial CT. Fig. 2: a cyst", "Axial CT. A cyst."),
        ("Film #2, 3 and 4: a cyst", "A cyst."),
        ("CT: a cyst", "CT: a cyst."),
        ("(A) Cyst and (B) stone", "Cyst and stone."),
        ("A cyst (image 3 of 9), as shown in Fig. 6, of the liver", "A cyst, of the liver."),
        ("MRCP in the same patient shows a stone.", "MRCP shows a stone."),
        ("A mass (white arrows; a) with the arrowhead sign at the arrow.", "A mass with the arrowhead sign."),
        ("Arrow points to the likely tract.", "Likely tract."),
        ("A mass.\nA - Aorta\nK - Kidney", "A mass."),
        ("CT of a cyst (arrow). CT, computed tomography.", "CT of a cyst. CT, computed tomography."),
        ("A T2* image, 3*2 cm *", "A T2* image, 3*2 cm."),
        ("Stone in the rib (R) and liver (L).", "Stone in the rib and liver."),
        (
            "R occipital condyle, L. MCA, Rt temporal, MRI (R) adrenal",
            "Right occipital condyle, left MCA, right temporal, MRI right adrenal.",
        ),
        ("L4 on T2, LUL mass, R wave, L spine, R>L", "L4 on T2, LUL mass, R wave, L spine, R>L."),
        ("A cyst. What is your diagnosis? Note the stone.", "A cyst. Note the stone."),
        ("Question of a cyst?", "Question of a cyst?"),
        (
            "She presented with pain. CT after surgery shows a cyst. Biopsy was performed later.",
            "CT after surgery shows a cyst.",
        ),
        ("T1 (TR/TE 500/20) at 3 T, 5 mm slices", "T1 at 3 T, 5 mm slices."),
        ("A cyst [Copyright: \u00a92017 Roe et al.]", "A cyst."),
        ("A cyst. Radiology Letters 2004;3:112-118.", "A cyst."),
    ],
)
def test_the_policy(raw: str, text: str) -> None:
    found = clean(raw)
    assert (found.text, found.drop_reason) == (text, None)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        *(
            (raw, "empty")
            for raw in (None, "", " \n", "\u200b", "\\u0000", "What is the diagnosis?", "http://www.example.org/a")
        ),
        *(
            (raw, "placeholder")
            for raw in ("N/A", "NA.", "none", "None.", "N/C", "-", "...", "(n/a)", "In progress", "CT", "MRI images")
        ),
        *((raw, "template") for raw in ("Replace this - DESCRIPTION OF THE IMAGE OR FINDINGS.", "REPLACE THIS LINE")),
        *(
            (raw, "cross_reference_only")
            for raw in ("Figure 2", "CT image 4", "See Fig. 3.", "Follow-up CT", "Same as previous image.")
        ),
        *((raw, "history_only") for raw in ("The patient presented with headaches.", "History of a fall last year.")),
        *(
            (raw, None)
            for raw in (
                "NAD",
                "None of the vessels fill.",
                "Na 140",
                "5",
                "Internal hernia",
                "Axial FLAIR",
                "Chest X-ray",
            )
        ),
    ],
)
def test_why_a_caption_is_dropped(raw: str | None, reason: str | None) -> None:
    assert clean(raw).drop_reason == reason


def test_a_text_that_never_settles_is_no_caption() -> None:
    assert clean("&" + "amp;" * 50).drop_reason == "placeholder"


def test_a_file_is_cleaned_line_by_line_and_counted(tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    rows = [
        {"id": 1, "raw": "A cyst (arrow)"},
        {"id": "2", "raw": None},
        {"id": 3, "raw": "\ud800"},
        {"id": 4, "raw": "Dr. Jane Roe saw a cyst."},
    ]
    source.write_text("\n".join(map(json.dumps, rows)) + "\n\n", encoding="utf-8")
    counts = clean_file(source, target)
    out = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    assert [(row["id"], row["clean"], row["drop_reason"]) for row in out[:3]] == [
        (1, "A cyst.", None),
        ("2", None, "empty"),
        (3, None, "empty"),
    ]
    assert out[0]["edits"][-1] == {"rule": "pointer", "before": "A cyst (arrow).", "after": "A cyst."}
    assert (counts["captions"], counts["kept"], counts["dropped:empty"], counts["edit:deid_name"]) == (4, 2, 2, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]


@pytest.mark.parametrize("line", ["{", "[1]", '{"id": 1}', '{"id": 1, "raw": 5}', "[" * 100_000])
def test_a_bad_line_is_named_and_leaves_the_old_output(tmp_path: Path, line: str) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"id": 1, "raw": "a"}\n' + line + "\n", encoding="utf-8")
    target.write_text("old")
    with pytest.raises(UserError, match=r"in\.jsonl, line 2"):
        clean_file(source, target)
    assert target.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_that_is_not_there_is_a_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.jsonl"):
        clean_file(tmp_path / "none.jsonl", tmp_path / "out.jsonl")


def test_the_documented_table_of_rules_is_current() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "clean.md").read_text(encoding="utf-8")
    assert rules_table() in page


@pytest.mark.skipif("RGC_REAL_DATA" not in os.environ, reason="RGC_REAL_DATA does not name the folder of real data")
def test_the_gold_captions_are_cleaned_as_a_careful_reader_would(tmp_path: Path) -> None:
    gold = Path(os.environ["RGC_REAL_DATA"]) / "captions_gold"
    clean_file(gold / "gold.jsonl", tmp_path / "out.jsonl")
    scored = subprocess.run(
        [sys.executable, gold / "score.py", tmp_path / "out.jsonl"], capture_output=True, text=True, check=True
    ).stdout
    figures = {name: float(value) for name, value in re.findall(r"^(.+?): (\d\.\d+)", scored, re.M)}
    assert figures["exact, non-ambiguous"] >= 0.92
    assert figures["kept-vs-dropped"] >= 0.98
    assert figures["facts kept"] == 1
    assert figures["harm"] <= 0.02
