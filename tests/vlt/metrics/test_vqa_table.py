import numpy as np
import pytest

from vlt.metrics.answers import accepted
from vlt.metrics.intervals import interval
from vlt.metrics.vqa import Asked, confusion, render, score

ASKED = [
    Asked("one", accepted("Yes"), ("closed", "type: pres")),
    Asked("one", accepted("left lung"), ("open", "type: pos", "type: pres")),
    Asked("two", accepted("No"), ("closed", "type: pres")),
    Asked("three", accepted("ct#mri"), ("open", "type: plane")),
]
SAID = {"chosen": ["yes", "left lobe", "yes", "MRI"], "blind": ["yes", "right", "no", "us"]}


def test_groups_counts_and_scores_are_those_of_a_hand():
    found = score(ASKED, SAID, ["yes", "no", "ct"])
    assert list(found) == ["overall", "closed", "open", "type: plane", "type: pos", "type: pres"]
    overall, positions = found["overall"], found["type: pos"]
    assert (overall["questions"], overall["images"], overall["ceiling"]) == (4, 3, 0.75)
    assert (found["type: pres"]["questions"], found["type: pres"]["images"]) == (3, 2)
    assert (overall["systems"]["chosen"]["exact"], overall["systems"]["blind"]["exact"]) == (0.5, 0.5)
    assert overall["systems"]["chosen"]["f1"] == pytest.approx((1 + 0.5 + 0 + 1) / 4)
    assert positions["ceiling"] == 0.0 and positions["systems"]["chosen"]["exact"] == 0.0
    assert found["closed"]["differences"] == {
        "blind": {"exact": -0.5, "exact_95": pytest.approx((-1.0, 0.0))},
    }
    assert score(ASKED, SAID)["overall"]["ceiling"] is None  # nothing to choose from, no ceiling


def test_intervals_are_over_images_and_differences_are_of_the_same_samples():
    chance = np.random.default_rng(3)
    images = [f"i{row // 4}" for row in range(80)]
    asked = [Asked(image, ("yes",), ("closed",) if row % 2 else ("open",)) for row, image in enumerate(images)]
    said = {name: ["yes" if chance.random() < 0.6 else "no" for _ in images] for name in ("mine", "other")}
    told = score(asked, said)["closed"]
    hits = {name: np.array([answer == "yes" for answer in answers], float) for name, answers in said.items()}
    names = sorted(set(images))
    times = np.random.default_rng(0).multinomial(20, np.full(20, 1 / 20), size=2000)
    inside = np.arange(80) % 2 == 1
    weight = times[:, [names.index(image) for image in images]] * inside
    means = {name: weight @ some / weight.sum(1) for name, some in hits.items()}
    assert told["systems"]["mine"]["exact_95"] == pytest.approx(interval(means["mine"]))
    assert told["differences"]["other"]["exact_95"] == pytest.approx(interval(means["mine"] - means["other"]))
    assert told["differences"]["other"]["exact"] == pytest.approx(
        hits["mine"][inside].mean() - hits["other"][inside].mean()
    )


def test_the_table_shows_each_group_and_says_where_no_difference_is_shown():
    lines = list(render(score(ASKED, SAID, ["yes", "no", "ct"])))
    assert lines[0] == "| questions | n | images | ceiling | chosen | blind |"
    assert lines[2].startswith("| overall | 4 | 3 | 75.0 | 50.0 [") and "F1 62.5" in lines[2]
    assert lines[-1].startswith("chosen less blind: +0.0 [") and lines[-1].endswith(": no difference is shown")
    clear = list(render(score(ASKED, {"chosen": ["yes", "left lung", "no", "ct"], "none": ["?"] * 4})))
    assert clear[-1] == "chosen less none: +100.0 [+100.0, +100.0]"
    assert "| - |" in clear[2]


def test_a_system_that_answers_too_few_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="shorter"):
        score(ASKED, {"chosen": ["yes"]})


def test_confusions_are_counted_for_the_most_frequent_answers():
    truth, said = ["yes", "yes", "no", "left", "no", "yes"], ["yes", "no", "no", "yes", "left", "yes"]
    assert confusion(truth, said, most=2) == [
        ["truth", "yes", "no", "other"],
        ["yes", 2, 1, 0],
        ["no", 0, 1, 1],
        ["other", 1, 0, 0],
    ]
