import csv
import json
import re

import numpy as np
import pytest
from PIL import Image

from corpus_db.read import UserError
from tests.vlt.studies import small
from vlt.metrics.intervals import DRAWS
from vlt.studies import table

IMAGES = ["a", "a", "b", "c", "c", "c", "d", "b"]
CLOSED = [1, 0, 1, 0, 1, 1, 0, 0]
MLM = {"pretrain": {"objectives": {"mlm": 1.0}}}
STUDY = small.study(none={}, mlm=MLM, longer={"spend": "mlm"})


def cell(arm, seed, right, steps=100, pretrain=None, images=IMAGES):
    tune = {"run": "r", "steps": steps, "seconds": 60.0 * seed}
    scores = {"right": list(right), "images": list(images), "closed": CLOSED, "accuracy": float(np.mean(right))}
    return {"arm": arm, "seed": seed, "pretrain": pretrain, "tune": tune, **scores}


def made(seeds=(1, 2, 3), chance=None):
    chance = chance or np.random.default_rng(7)
    took = {"run": "p", "steps": 40, "seconds": 90.0, "flops": 2e12, "scores": {"kind": "eval", "step": 40, "gap": 0.5}}
    shares = {"none": 0.3, "mlm": 0.7, "longer": 0.5}
    return [
        cell(
            name,
            seed,
            (chance.random(len(IMAGES)) < share).astype(int).tolist(),
            pretrain=took if name == "mlm" else None,
        )
        for name, share in shares.items()
        for seed in seeds
    ]


def of(cells, name):
    return sorted((one for one in cells if one["arm"] == name), key=lambda one: one["seed"])


def drawn(some, draws):
    """The accuracy of each sample, by laying its images' answers side by side, of each seed as often as it is drawn."""
    names = sorted(set(IMAGES))
    times, seeds = (
        np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=draws)
        for seed, count in ((0, len(names)), (1, len(some)))
    )
    found = []
    for images, picked in zip(times, seeds, strict=True):
        answers = []
        for one, how_often in zip(some, picked, strict=True):
            for name, count in zip(names, images, strict=True):
                own = [right for right, image in zip(one["right"], one["images"], strict=True) if image == name]
                answers += own * count * how_often
        found.append(np.mean(answers))
    return np.array(found)


def test_scores_differences_and_intervals_are_those_of_a_plain_loop():
    cells = made()
    result = table.aggregate(STUDY, cells)
    base = drawn(of(cells, "none"), DRAWS)
    assert list(result) == ["none", "mlm", "longer"]
    for name, told in result.items():
        some = of(cells, name)
        rights = np.array([one["right"] for one in some])
        samples = drawn(some, DRAWS)
        assert told["seeds"] == [1, 2, 3] and told["accuracy"] == pytest.approx(rights.mean())
        per_seed = [rights[row].mean() for row in range(3)]
        assert told["sd"] == pytest.approx((sum((x - np.mean(per_seed)) ** 2 for x in per_seed) / 2) ** 0.5)
        assert told["accuracy_95"] == pytest.approx(tuple(np.quantile(samples, [0.025, 0.975])))
        closed = np.array(CLOSED, bool)
        assert told["closed"] == pytest.approx(rights[:, closed].mean())
        assert told["open"] == pytest.approx(rights[:, ~closed].mean())
        if name != "none":
            less = rights.mean() - np.mean([one["right"] for one in of(cells, "none")])
            assert told["difference"] == pytest.approx(less)
            assert told["difference_95"] == pytest.approx(tuple(np.quantile(samples - base, [0.025, 0.975])))
    assert "difference" not in result["none"]


def test_intervals_are_of_images_and_of_seeds_each_with_replacement():
    chance = np.random.default_rng(99)  # other samples than the table's
    cells = made()
    rights = {
        image: np.array(
            [[one["right"][k] for k, name in enumerate(IMAGES) if name == image] for one in of(cells, "mlm")]
        )
        for image in "abcd"
    }
    samples = []
    for _ in range(4000):
        seeds = chance.integers(0, 3, 3)
        picked = [rights["abcd"[k]][seeds] for k in chance.integers(0, 4, 4)]
        samples.append(np.concatenate(picked, axis=1).mean())
    found = table.aggregate(STUDY, cells)["mlm"]["accuracy_95"]
    assert found == pytest.approx(tuple(np.quantile(samples, [0.025, 0.975])), abs=0.03)


def test_arms_alike_differ_by_nothing_and_one_always_better_never_by_less():
    right = [[1, 0, 1, 0, 1, 0, 1, 0], [0, 0, 1, 1, 1, 0, 0, 0]]
    cells = [cell(name, seed, right[seed - 1]) for name in ("none", "mlm") for seed in (1, 2)]
    cells += [cell("longer", seed, np.maximum(right[seed - 1], CLOSED).tolist()) for seed in (1, 2)]
    result = table.aggregate(STUDY, cells)
    assert result["mlm"]["difference"] == 0 and tuple(result["mlm"]["difference_95"]) == (0, 0)
    assert result["none"]["accuracy_95"][0] < result["none"]["accuracy_95"][1]
    assert result["longer"]["difference"] > 0 and result["longer"]["difference_95"][0] >= 0


def test_the_order_of_cells_does_not_matter_and_one_seed_has_no_spread():
    cells = made()
    assert table.aggregate(STUDY, cells[::-1]) == table.aggregate(STUDY, cells)
    one = table.aggregate(STUDY, made(seeds=(2,)))
    assert one["mlm"]["sd"] is None and one["mlm"]["seeds"] == [2]
    without = table.aggregate(STUDY, [one for one in cells if one["arm"] != "none"])
    assert list(without) == ["mlm", "longer"] and "difference" not in without["mlm"]


def test_steps_operations_and_minutes_are_told():
    told = table.aggregate(STUDY, made())
    assert told["mlm"]["pretrain_steps"] == 40 and told["mlm"]["pretrain_minutes"] == 1.5
    assert told["mlm"]["pretrain_petaflops"] == pytest.approx(0.08) and told["mlm"]["gap"] == 0.5
    assert told["none"]["tune_minutes"] == pytest.approx(2.0) and "pretrain_steps" not in told["none"]


def test_seeds_that_were_tested_on_different_questions_are_refused():
    cells = [cell("mlm", 1, [1] * 8), cell("mlm", 2, [1] * 8, images=["z", *IMAGES[1:]])]
    with pytest.raises(UserError, match="arm mlm, seed 2: tested on different questions than arm mlm, seed 1; run"):
        table.aggregate(STUDY, cells)


def test_arms_that_were_tested_on_different_questions_are_refused():
    cells = [cell("none", 1, [1] * 8), cell("mlm", 1, [1] * 8, images=["z", *IMAGES[1:]])]
    with pytest.raises(UserError, match="arm mlm, seed 1: tested on different questions than arm none, seed 1"):
        table.aggregate(STUDY, cells)


def changed(**more):
    return json.dumps(made()[0] | more).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"\xff",
        b"[]",
        b"{}",
        b"7",
        b'{"arm": "mlm"}',
        changed(right=[1] * 5),
        changed(right=["x"] * 8),
        changed(images=[1] * 8),
        changed(tune=[]),
        changed(tune={"steps": "many", "seconds": 1}),
        changed(pretrain=[]),
        changed(accuracy=None),
    ],
)
def test_a_damaged_cell_is_named(tmp_path, content):
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells" / "none-1.json").write_text(json.dumps(made()[0]))
    (tmp_path / "cells" / "mlm-2.json").write_bytes(content)
    with pytest.raises(UserError, match=r"cells/mlm-2\.json: cannot be read .*remove it and run the study again"):
        table.write(STUDY, "made up", tmp_path, False)


def test_what_a_killed_process_left_beside_the_cells_is_none(tmp_path):
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells" / "none-1.json").write_text(json.dumps(made()[0]))
    (tmp_path / "cells" / ".mlm-1.json.123").write_text("{")
    (tmp_path / "cells" / "mlm-1.pretrain").write_text("4")
    assert [one["arm"] for one in table.cells(tmp_path)] == ["none"]


@pytest.fixture
def kept(tmp_path):
    (tmp_path / "cells").mkdir()
    for one in made():
        (tmp_path / "cells" / f"{one['arm']}-{one['seed']}.json").write_text(json.dumps(one))
    return tmp_path


def test_the_table_the_csv_the_json_and_the_plot_say_the_same(kept):
    lines = table.write(STUDY, "sample-truth/official/en", kept, False)
    assert (kept / "table.md").read_text() == "\n".join(lines) + "\n" and "smoke" not in "\n".join(lines)
    result = json.loads((kept / "result.json").read_text())
    rows = {row["arm"]: row for row in csv.DictReader((kept / "table.csv").open())}
    assert list(rows) == list(result) == ["none", "mlm", "longer"]
    for name, arm in result.items():
        assert float(rows[name]["accuracy"]) == arm["accuracy"]
        shown = next(line for line in lines if line.startswith(f"| {name} |"))
        low, high = (100 * value for value in arm["accuracy_95"])
        assert f"| {100 * arm['accuracy']:.1f} [{low:.1f}, {high:.1f}] |" in shown
        assert len(re.findall(r"(?<!\\)\|", shown)) == 9
    assert rows["none"]["difference"] == "" and "40 steps, 0.08 PFLOP, 1.5 min; then 100 of fine-tuning" in "\n".join(
        lines
    )
    with Image.open(kept / "plot.png") as plot:
        assert plot.format == "PNG" and plot.width > 400


def test_a_quick_study_says_that_it_is_no_evidence(kept):
    lines = table.write(STUDY, "made up", kept, True)
    assert "**A smoke test: too few cases and steps to be evidence of anything.**" in lines


def test_a_difference_is_told_as_one_only_where_its_interval_leaves_out_nothing():
    def verdict(low, high, seeds=(1, 2, 3)):
        arms = {"mlm": {"difference": 0.1, "difference_95": (low, high), "difference_seeds": list(seeds)}}
        return next(iter(table.verdicts(STUDY, arms)))

    assert verdict(0.01, 0.2) == (1, "mlm is better than none (3 seeds).")
    assert verdict(-0.2, -0.01) == (-1, "mlm is worse than none (3 seeds).")
    assert verdict(-0.1, 0.2) == verdict(0.0, 0.2) == (0, "mlm is not shown to differ from none (3 seeds).")
    assert verdict(0.1, 0.2, seeds=(1,)) == (0, "mlm and none have one seed in common: too few for a verdict.")


def test_a_difference_is_of_the_seeds_that_both_arms_have():
    chance = np.random.default_rng(3)
    right = {seed: (chance.random(8) < seed / 4).astype(int).tolist() for seed in (1, 2, 3)}
    cells = [cell("none", seed, right[seed]) for seed in (1, 2, 3)] + [
        cell("mlm", seed, right[seed]) for seed in (2, 3)
    ]
    told = table.aggregate(STUDY, cells)["mlm"]
    assert told["difference"] == 0 and tuple(told["difference_95"]) == (0, 0) and told["difference_seeds"] == [2, 3]
    apart = table.aggregate(STUDY, [cell("none", 1, [0] * 8), cell("mlm", 2, [1] * 8)])
    assert "difference" not in apart["mlm"]
    assert list(table.verdicts(STUDY, apart)) == [(0, "mlm and none have no seed in common: too few for a verdict.")]
