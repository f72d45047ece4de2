import numpy as np
import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from vlt.metrics import clinical, meteor, text
from vlt.metrics import report as table
from vlt.metrics.report import CLINICAL, render, score

WORDS = ["no", "left", "right", "mass", "cyst", "effusion", "in", "the", "lung", "kidney", "is", "seen", "small"]


@pytest.fixture(autouse=True)
def no_java(monkeypatch):
    monkeypatch.setattr(meteor, "absent", lambda: "not asked for")


def texts(seed, count=12):
    chance = np.random.default_rng(seed)
    return [" ".join(chance.choice(WORDS, chance.integers(4, 12))) for _ in range(count)]


REFERENCES = {f"p{number}": [one] for number, one in enumerate(texts(0))}
MINE = {key: f"{one[0]} {more}" for (key, one), more in zip(REFERENCES.items(), texts(1), strict=True)}
OTHER = dict(zip(REFERENCES, texts(2), strict=True))

CASES = {key: f"c{min(number // 2, 3)}" for number, key in enumerate(REFERENCES)}


def sampled(said):
    scored = text.sentence_scores(REFERENCES, said)
    return table._drawn(scored, clinical.counts(REFERENCES, said), list(CASES.values()))[1]


def test_each_sample_of_cases_scores_as_its_texts_do_when_they_are_scored_anew():
    samples = sampled(MINE)
    names = sorted(set(CASES.values()))
    times = np.random.default_rng(0).multinomial(len(names), np.full(len(names), 1 / len(names)), size=2000)
    whole = Cider().compute_score(REFERENCES, {key: [one] for key, one in MINE.items()})[1]
    cider = dict(zip(MINE, whole, strict=True))
    for draw in range(6):
        picked = [key for key in REFERENCES for _ in range(times[draw, names.index(CASES[key])])]
        told = {f"{place}": REFERENCES[key] for place, key in enumerate(picked)}
        said = {f"{place}": [MINE[key]] for place, key in enumerate(picked)}
        bleu = Bleu(4).compute_score(told, said, verbose=0)[0]
        found = [samples[name][draw] for name in text.BLEU]
        assert found == pytest.approx(bleu, rel=1e-6)
        assert samples["ROUGE-L"][draw] == pytest.approx(Rouge().compute_score(told, said)[0])
        assert samples["CIDEr"][draw] == pytest.approx(np.mean([cider[key] for key in picked]))
        terms = clinical.f1(told, {key: one for key, (one,) in said.items()})["f1"]
        assert samples[CLINICAL][draw] == pytest.approx(terms or 0.0)


def test_a_table_has_every_score_with_its_interval_and_paired_differences_from_the_first():
    found = score(REFERENCES, {"written": MINE, "other": OTHER}, CASES)
    assert found["pairs"] == 12 and list(found["systems"]) == ["written", "other"]
    mine, other = found["systems"].values()
    plain = text.scores(REFERENCES, MINE)
    assert all(mine[name] == plain[name] for name in (*text.BLEU, "ROUGE-L", "CIDEr", "METEOR"))
    assert mine[CLINICAL] == clinical.f1(REFERENCES, MINE)["f1"]
    for name in (*text.BLEU, "ROUGE-L", CLINICAL):
        assert mine[f"{name}_95"][0] <= mine[name] <= mine[f"{name}_95"][1]
    assert mine["METEOR"] is None and "METEOR_95" not in mine  # absent, and not nought
    assert set(found["differences"]) == {"other"} and "METEOR" not in found["differences"]["other"]
    rouge = found["differences"]["other"]["ROUGE-L"]
    assert rouge["less"] == pytest.approx(mine["ROUGE-L"] - other["ROUGE-L"])
    drawn = [sampled(one)["ROUGE-L"] for one in (MINE, OTHER)]
    assert rouge["less_95"] == pytest.approx(np.quantile(drawn[0] - drawn[1], [0.025, 0.975]))


def test_a_system_differs_from_itself_in_nothing():
    found = score(REFERENCES, {"written": MINE, "again": dict(MINE)}, CASES)
    assert all(one == {"less": 0.0, "less_95": (0.0, 0.0)} for one in found["differences"]["again"].values())


@pytest.mark.parametrize("empty", [" ", "\u200b", "..."])
def test_an_empty_text_scores_nothing_and_breaks_nothing(empty):
    found = score(REFERENCES, {"written": dict.fromkeys(REFERENCES, empty)}, CASES)
    told = found["systems"]["written"]
    assert told["BLEU-4"] < 1e-6 and told["ROUGE-L"] == told["CIDEr"] == told[CLINICAL] == 0.0


def test_the_rendered_table_says_what_is_absent_and_where_the_first_differs():
    lines = list(render(score(REFERENCES, {"written": MINE, "other": OTHER}, CASES)))
    assert lines[0] == "| 12 pairs | written | other |"
    assert "| METEOR | absent | absent |" in lines
    assert lines[-1].startswith("written less other: BLEU-4 +") and lines[-1].count("[") == 4
    assert "no difference is shown" not in lines[-1]
    same = list(render(score(REFERENCES, {"written": MINE, "again": dict(MINE)}, CASES)))[-1]
    assert same.startswith("written less again: BLEU-4 +0.000 [+0.000, +0.000]: no difference is shown; ROUGE-L")
    assert same.count("no difference is shown") == 4


def test_meteor_has_its_interval_and_its_difference_where_it_was_measured(monkeypatch):
    rows = np.zeros((2 * len(REFERENCES), meteor.COUNTS))
    rows[:, :6] = [4, 4, 0, 0, 2, 2]  # words, and those that match
    rows[:, 20:] = [1, 2, 2]
    rows[: len(REFERENCES) : 2, 4:6] = 3  # the first system's, now and then, is better
    monkeypatch.setattr(meteor, "counted", lambda pairs: (rows, None))
    found = score(REFERENCES, {"written": MINE, "other": OTHER}, CASES)
    told = found["systems"]["written"]
    assert told["METEOR_95"][0] <= told["METEOR"] <= told["METEOR_95"][1]
    less = found["differences"]["other"]["METEOR"]
    assert less["less"] == pytest.approx(told["METEOR"] - found["systems"]["other"]["METEOR"]) and less["less"] > 0
    *_, last = render(found)
    assert last.count("[") == 5 and "; METEOR +" in last
