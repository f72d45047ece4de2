import json
import os
from pathlib import Path

import numpy as np
import pytest
from pycocoevalcap.bleu.bleu import Bleu

from corpus_db.read import UserError
from vlt.metrics import meteor
from vlt.metrics.text import BLEU, METRICS, bleu, scores, sentence_scores, tokenise

REAL = pytest.mark.skipif("RGC_REAL_DATA" not in os.environ, reason="RGC_REAL_DATA is not set: no published scores")
WITH_JAVA = meteor.absent
CAT = {"a": ["the cat is on the mat"]}, {"a": "the cat sat on the mat"}
SHORT = {"a": ["the cat sat down"]}, {"a": "the cat"}
FOUR = (
    {
        "a": ["no focal mass is seen here", "clear lungs"],
        "b": ["a cyst in the left kidney"],
        "c": ["small right effusion ."],
        "d": ["normal heart"],
    },
    {
        "a": "no mass in the lungs",
        "b": "a large cyst in the right kidney is seen",
        "c": "small right effusion",
        "d": "an enlarged heart",
    },
)


@pytest.fixture(autouse=True)
def no_java(monkeypatch):
    monkeypatch.setattr(meteor, "absent", lambda: "not asked for")


@pytest.fixture
def maybe_java(no_java, monkeypatch):
    """Java where there is one, for the test that asks for it."""
    monkeypatch.setattr(meteor, "absent", WITH_JAVA)


def test_bleu_counts_n_grams_as_a_hand_does():
    found = scores(*CAT)  # of 6, 5, 4, 3 n-grams 5, 3, 1, 0 are in the reference
    expected = [5 / 6, (5 / 6 * 3 / 5) ** (1 / 2), (5 / 6 * 3 / 5 * 1 / 4) ** (1 / 3), 0]
    assert [found[name] for name in BLEU] == pytest.approx(expected, abs=2e-4)
    assert sentence_scores(*CAT).bleu.tolist() == [[5, 3, 1, 0, 6, 5, 4, 3, 6, 6]]


def test_a_text_that_is_too_short_is_punished_by_bleu_and_by_rouge():
    found = scores(*SHORT)
    assert found["BLEU-1"] == pytest.approx(np.exp(1 - 4 / 2))
    assert found["ROUGE-L"] == pytest.approx((1 + 1.2**2) * 1 * 0.5 / (0.5 + 1.2**2 * 1))


def test_rouge_is_the_longest_common_sequence():
    assert scores(*CAT)["ROUGE-L"] == pytest.approx(5 / 6)


def test_cider_is_ten_for_the_references_words_and_nothing_for_another_texts():
    told = {"a": ["small effusion on the left"], "b": ["large mass within right kidney"]}
    same = {key: only for key, (only,) in told.items()}
    assert scores(told, same)["CIDEr"] == pytest.approx(10)
    assert scores(told, {"a": same["b"], "b": same["a"]})["CIDEr"] == 0
    assert sentence_scores(told, {**same, "b": same["a"]}).cider.tolist() == pytest.approx([10, 0])


def test_the_scores_of_each_text_stand_in_the_order_of_the_ids_and_make_up_the_whole():
    references, hypotheses = FOUR
    found = sentence_scores(dict(reversed(references.items())), hypotheses)
    assert found.ids == tuple("abcd")
    assert found.bleu.shape == (4, 10) and found.bleu.dtype == np.int64
    assert found.rouge_l.mean() == pytest.approx(found.values["ROUGE-L"])
    assert found.cider.mean() == pytest.approx(found.values["CIDEr"])
    one = scores({"b": references["b"]}, {"b": hypotheses["b"]})
    assert found.rouge_l[1] == pytest.approx(one["ROUGE-L"])
    assert tuple(found.values) == METRICS


def test_bleu_of_summed_counts_is_pycocoevalcaps_of_the_texts_together():
    references, hypotheses = FOUR
    counts = sentence_scores(references, hypotheses).bleu
    draws = np.array([[0, 1, 2, 3], [0, 0, 1, 3], [2, 2, 2, 2], [0, 0, 0, 0]])
    ours = bleu(counts[draws].sum(1))
    only_a = scores({"a": references["a"]}, {"a": hypotheses["a"]})  # 5 words; of 2 and 6, 6 are the nearest
    assert [only_a[name] for name in BLEU] == pytest.approx(ours[3].tolist(), abs=1e-3)
    for row, draw in zip(ours, draws, strict=True):
        keys = ["abcd"[place] for place in draw]
        told = {place: references[key] for place, key in enumerate(keys)}
        said = {place: [hypotheses[key]] for place, key in enumerate(keys)}
        assert row.tolist() == pytest.approx(Bleu(4).compute_score(told, said, verbose=0)[0], rel=1e-12)


def test_the_scorers_leave_stdout_alone(capfd):
    scores(*FOUR)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "given, expected",
    [
        ("Small (1.8 cm) mass; no edema.", "small ( 1.8 cm ) mass ; no edema ."),
        ("A well-defined lesion at T2/T3, the patient's.", "a well-defined lesion at t2/t3 , the patient's ."),
        ("'normal' 10,000:1", "' normal ' 10,000:1"),
        (" two\n\nlines\tof\r\ntext ", "two lines of text"),
        ("UPPER  case", "upper case"),
        ("no mass .  .", "no mass .  ."),
        ("previously<br>described limits> .", "previously<br>described limits> ."),
        ("a\ud800 b", "a ? b"),
    ],
)
def test_tokenising_sets_punctuation_apart_and_leaves_what_is_tokenised(given, expected):
    assert tokenise(given) == expected
    assert tokenise(expected) == expected


def test_texts_are_tokenised_unless_they_are_to_stay_as_they_are():
    references, hypotheses = {"a": ["No effusion."]}, {"a": "no effusion ."}
    assert scores(references, hypotheses)["BLEU-1"] == pytest.approx(1)
    assert scores(references, hypotheses, raw=True)["BLEU-1"] < 0.01


@pytest.mark.parametrize(
    "references, hypotheses, message",
    [
        (
            {"a": ["x"], "b": ["x"], "c": ["x"]},
            {"a": "x"},
            "hypotheses: no id 'b', which is in the references (as are 1 more)",
        ),
        ({"a": ["x"]}, {"a": "x", "z": "x"}, "the references: no id 'z', which is in the hypotheses"),
        ({"a": ["x"], "b": ["x"]}, {"a": "x", "b": " \n"}, "the hypotheses: id 'b': the text is empty"),
        ({"a": ["x"], "b": ["x"]}, {"a": "x", "b": "\u200b"}, "the hypotheses: id 'b': the text is empty"),
        ({"a": ["x"], "b": ["x"]}, {"a": "x", "b": "--- ..."}, "the hypotheses: id 'b': the text is empty"),
        ({"a": ["...", "."]}, {"a": "x"}, "the references: id 'a': a reference is empty"),
        ({"a": ["x"], "b": ["x", ""]}, {"a": "x", "b": "x"}, "the references: id 'b': a reference is empty"),
        ({"a": []}, {"a": "x"}, "the references: id 'a': a reference is empty"),
        ({}, {}, "the hypotheses: no texts"),
    ],
)
def test_what_cannot_be_scored_is_told_in_one_line_that_names_the_id(references, hypotheses, message):
    with pytest.raises(UserError) as raised:
        scores(references, hypotheses)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("said", ["5", "\u03b1", "\u80ba", "x."])
def test_a_letter_or_digit_of_any_script_is_a_text_and_a_reference_without_one_may_stand_beside_another(said):
    assert scores({"a": [".", said]}, {"a": said})["BLEU-1"] == pytest.approx(1)


@REAL
def test_published_scores_of_nlg_eval_are_reproduced_to_all_digits(maybe_java):
    folder = Path(os.environ["RGC_REAL_DATA"]) / "text_metrics"
    said, *told = ((folder / f"nlgeval_{name}.txt").read_text().splitlines() for name in ("hyp", "ref1", "ref2"))
    pairs = {str(line): list(texts) for line, texts in enumerate(zip(*told, strict=True))}
    found = scores(pairs, {str(line): one for line, one in enumerate(said)})
    expected = {"ROUGE-L": 0.522104, "CIDEr": 1.242192, "METEOR": 0.295797}
    expected |= dict(zip(BLEU, [0.55, 0.428174, 0.284043, 0.201143], strict=True))
    if WITH_JAVA():
        expected["METEOR"] = None
    assert {name: value and round(value, 6) for name, value in found.items()} == expected


@REAL
@pytest.mark.parametrize("split", ["val", "test"])
def test_published_scores_of_a_constant_report_are_reproduced_to_all_digits(split):
    folder = Path(os.environ["RGC_REAL_DATA"]) / "text_metrics" / "template"
    told, said, published = (
        json.loads((folder / f"{split}_{name}.json").read_text()) for name in ("refs", "result", "summary")
    )
    found = scores(told, {key: only for key, (only,) in said.items()})
    for ours, name in zip(METRICS, ("Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "ROUGE_L"), strict=False):
        assert found[ours] == published[name], ours
