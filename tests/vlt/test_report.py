import json
import math
import os
import re
import shutil
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner

import cli
from corpus_db.read import UserError
from tests.vlt import kept
from vlt import report, runs
from vlt.metrics import meteor
from vlt.metrics.retrieval import median_rank
from vlt.report import curves, measured

VOID = {"meta", "link", "img", "br", "hr", "input", "line", "circle", "polyline"}


class Checker(HTMLParser):
    """Every element is closed, nothing runs, nothing is asked for from elsewhere; the text that is seen."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data):
        self.text.append(data)


def checked(path):
    """The text of a page and its elements."""
    page = Checker()
    page.feed(Path(path).read_text())
    assert page.open == []
    for tag, attrs in page.seen:
        assert tag not in ("script", "iframe", "object", "form") and not [
            name for name in attrs if name.startswith("on")
        ]
        for name in ("src", "href"):
            assert attrs.get(name, "#").startswith(("data:", "#")), (tag, attrs)
    return " ".join(" ".join(page.text).split()), page.seen


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RGC_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(meteor, "absent", lambda: "not asked for")


@pytest.fixture
def base(tmp_path):
    return kept.base(tmp_path)


@pytest.fixture
def rad(tmp_path, base):
    return kept.tuned(tmp_path, base)


def page(name="base", **options):
    """What the page about a run says, and its elements."""
    told = report.write(Path("page.html"), name, None, **options)
    assert told == {"path": "page.html", "bytes": os.path.getsize("page.html")}
    return checked("page.html")


def test_a_page_shows_how_a_run_learned_with_its_numbers_in_words(base):
    text, seen = page()
    told = [attrs["aria-label"] for tag, attrs in seen if tag == "svg" and attrs.get("role") == "img"]
    assert told[0].startswith("Hidden words (MLM) over the steps: training from 4 at step 1 to 0.8889 at step 8")
    assert "validation from 3 at step 0" in told[0]
    assert any(line.startswith("Gap: words named") and "to 0.375 at step 8" in line for line in told)
    assert any(line.startswith("The right image told from") and line.endswith("chance 0.5") for line in told)
    assert {"Images a second", "Learning rate"} <= {line.partition(" over")[0] for line in told}
    assert "content 0.5000 0.2500 +0.3750" in text and "another image 0.7500 40" in text
    assert "2.50 M" in text and "of 8, finished" in text and "not ended" not in text


def test_the_pace_is_that_of_the_whole_run(base):
    kept.measured(base, [kept.train(6, images_per_s=90.0), kept.train(8, images_per_s=180.0)])
    assert "images a second 102.9 the mean of all steps, " in page()[0]  # 8 steps in the time of 6 at 90 and 2 at 180


def test_the_hashes_settings_and_command_to_repeat_it_are_there(base):
    text, _ = page()
    corpus, environment = base.corpora[0], json.loads((base.folder / "environment.json").read_text())
    assert corpus["manifest_sha256"] in text and environment["command"] in text and environment["torch"] in text
    assert "mask_rate 0.75" in text and "batch_size 8" in text
    os.remove(base.folder / "environment.json")
    assert "Its command was not noted" in page()[0]


def test_a_command_on_a_page_quotes_the_name_of_the_run(tmp_path):
    made = kept.base(tmp_path, "my run")
    assert "--run 'my run'" in page("my run")[0]
    os.remove(made.folder / "model.safetensors")
    assert "--resume 'my run'" in page("my run")[0]


def test_an_unfinished_run_says_how_to_go_on(base):
    os.remove(base.folder / "model.safetensors")
    kept.measured(base, kept.RECORDS[:4])
    assert "not ended: step 2 of 8. Go on with: python cli.py pretrain --resume base" in page()[0]
    os.remove(base.folder / "metrics.jsonl")
    assert "Nothing was measured yet." in page()[0]


def test_a_loss_that_is_no_number_is_told_and_breaks_its_line(base):
    records = [kept.train(step, **({"mlm_loss": math.nan} if step in (4, 5) else {})) for step in range(1, 9)]
    kept.measured(base, records)
    text, seen = page()
    assert "no number (NaN or infinite) from step 4 on" in text
    assert "training: 2 of 8 values are no numbers (NaN or infinite), the first at step 4" in text
    lines = [attrs["points"].split() for tag, attrs in seen if tag == "polyline"]
    assert [len(points) for points in lines[:2]] == [3, 3]


def test_damaged_lines_of_the_metrics_are_counted_and_left_out(base):
    with open(base.folder / "metrics.jsonl", "a") as file:
        file.write('{"kind": "train", "st\n[]\n{"kind": "train", "step": 1e999, "mlm_loss": 1}\n\n')
        file.write('{"kind": "train", "step": -1, "mlm_loss": 1}\n')
    assert "4 lines of metrics.jsonl are no records" in page()[0]


def test_a_hundred_thousand_records_make_a_small_page_soon(base):
    kept.measured(base, [kept.train(step, mlm_loss=1 + step % 7) for step in range(1, 100_001)])
    begun = time.perf_counter()
    page()
    assert os.path.getsize("page.html") < 500_000 and time.perf_counter() - begun < 20


def test_answers_stand_beside_their_baselines_with_the_best_and_the_worst(rad):
    text, seen = page("rad")
    assert "questions n images ceiling chosen without the image most frequent" in text
    assert re.search(r"chosen less most frequent: \+?-?\d", text) and "3 of 16 true answers" in text
    alts = [attrs["alt"] for tag, attrs in seen if tag == "img"]
    assert len([alt for alt in alts if alt.startswith("image synpic")]) == 12
    assert [alt for alt in alts if alt.startswith("attention map")] == [f"attention map of {first_id(rad)}"]
    assert kept.HOSTILE in text  # shown, not run
    assert "best, which is kept" in text and "0.8" in text
    assert "python cli.py evaluate vqa-test" in text and "Settings: beams 3." in text


def test_a_public_page_holds_no_text_and_no_image_of_the_corpus(rad):
    text, seen = page("rad", public=True)
    assert not [tag for tag, _ in seen if tag == "img"] and kept.HOSTILE not in text
    assert "must not be published" in page("rad")[0] and "must not be published" not in text
    assert "On which side" not in text and "3 of 16 true answers" in text and "What it said is left out" in text


def test_a_public_page_holds_no_training_text(base):
    kept.written(base)
    assert "The best constant text, chosen on validation: a cyst" in page()[0] and "a cyst" not in page(public=True)[0]


def first_id(run):
    return json.loads((run.folder / "evaluations/vqa-test/predictions.jsonl").read_text().splitlines()[0])["id"]


def test_wrong_answers_that_it_was_surest_of_come_first(rad):
    text, _ = page("rad")
    sure = [float(one) for one in re.findall(r"sure (0\.\d+)", text)]
    assert len(sure) == 12 and sure[:6] == sorted(sure[:6], reverse=True) and sure[6:] == sorted(sure[6:], reverse=True)
    assert text.index("Best") < text.index("test:") and sure[6] == 0.5


def test_images_and_maps_that_are_gone_are_told_with_what_makes_them(rad):
    (rad.folder / "evaluations/vqa-test/maps/index.jsonl").unlink()
    for path in Path("vqa").rglob("*.png"):
        path.unlink()
    os.rename("corpus.db", "moved.db")
    text, seen = page("rad")
    assert "The images cannot be shown: " in text and "corpus.db: no such database" in text
    assert text.count("image not here") == 12 and not [tag for tag, _ in seen if tag == "img"]
    assert "this draws it: python cli.py evaluate vqa-test --maps 12" in text
    assert len([tag for tag, _ in page("rad", db="moved.db")[1] if tag == "img"]) == 12  # the store has its own copies


def test_a_map_outside_its_folder_is_not_shown(rad):
    index = rad.folder / "evaluations/vqa-test/maps/index.jsonl"
    line = json.loads(index.read_text())
    index.write_text(json.dumps(line | {"file": "../maps/wrong-001.png"}) + "\n")
    assert not [attrs for tag, attrs in page("rad")[1] if attrs.get("alt", "").startswith("attention map")]


def test_retrieval_and_written_texts_have_their_tables_and_extremes(base):
    kept.found(base)
    kept.written(base)
    text, seen = page()
    assert "image to text strict ITC 50.0" in text and "image to text strict chance 25.0" in text
    assert "median rank" in text and "zero-shot" in text
    assert "ROUGE-L" in text and "written best constant" in text and "METEOR absent absent" in text
    assert "the texts most and least like the true ones" in text
    alts = [attrs["alt"] for tag, attrs in seen if tag == "img"]
    assert [alts.count(f"image of p{row}") for row in range(4)] == [2] * 4
    assert [alts.count(f"image that stood first for p{row}") for row in range(4)] == [1] * 4
    assert [one for one in re.findall(r"written (.+?) ROUGE-L ([\d.]+)", text) if one[1] == "0.250"]


def test_a_median_rank_is_told_as_evaluate_tells_it(base):
    path = kept.found(base) / "result.json"
    result = json.loads(path.read_text())
    told = {"median_rank": 1234.5, "median_rank_interval": [6.0, 11.0125]}
    result["scores"]["image_to_text"]["itc"]["strict"] |= told
    path.write_text(json.dumps(result))
    assert median_rank(told) == "1,234.5 [6, 11]" and "1,234.5 [6, 11]" in page()[0]
    assert median_rank({"median_rank": 71.0}) == "71"


def test_a_pipe_in_the_place_of_an_image_is_not_waited_for(base):
    os.mkfifo("gone.png")
    kept.written(base)
    assert "image not here" in page()[0]


@pytest.mark.parametrize(
    "content", ["", "[]", '{"task": "vqa"}', '{"task": "else"}', '{"task": "vqa", "groups": 3}', "[" * 9999]
)
def test_a_damaged_evaluation_is_told_in_a_line_and_the_others_are_shown(rad, content):
    folder = rad.folder / "evaluations" / "vqa-val"
    folder.mkdir()
    (folder / "result.json").write_text(content)
    text, _ = page("rad")
    assert text.count("result.json: cannot be read (") == 1 and "3 of 16 true answers" in text


def test_damaged_predictions_leave_the_table(rad):
    (rad.folder / "evaluations/vqa-test/predictions.jsonl").write_text('{"id": 3\n{"id": "a"}\n"x"\n')
    assert "No prediction is kept here." in page("rad")[0]


def test_numbers_of_other_weights_are_told(rad):
    assert "of other weights" not in page("rad")[0]
    noted = rad.folder / "evaluations/vqa-test/environment.json"
    noted.write_text(json.dumps({"weights_sha256": "0" * 64}))
    assert "These numbers are of other weights than the run has now" in page("rad")[0]


def test_a_run_stands_behind_what_it_comes_from(rad, base):
    text, _ = page("rad")
    line = text[text.index("Where it comes from") :]
    assert line.index("base") < line.index("rad") and base.corpora[0]["manifest_sha256"] in line
    assert "python cli.py make rad" in line
    os.remove(base.folder / "config.json")
    assert "base cannot be looked at: " in page("rad")[0]


def test_a_line_of_runs_that_ends_in_itself_ends(rad, base):
    told = json.loads((base.folder / "environment.json").read_text())
    told["weights"] = {"run": str(rad.folder / "model.safetensors")}
    (base.folder / "environment.json").write_text(json.dumps(told))
    assert page("rad")[0].count("Code:") == 2


def test_a_stranger_s_folder_of_odd_values_still_has_its_page(rad):
    told = json.loads((rad.folder / "corpus.json").read_text())
    (rad.folder / "corpus.json").write_text(json.dumps([one | {"database": 5, "pairs": "x"} for one in told]))
    odd = {"weights": {"run": "a\0b", "text": 3}, "commit": [], "command": 7, "started": {}, "cuda": ["\ud800"]}
    (rad.folder / "environment.json").write_text(json.dumps(odd))
    lines = [
        {"id": [], "truth": None, "output": 3, "score": 1, "image": "x" * 5000, "question": "\u202egnp"},
        {"id": "b", "truth": "", "output": "", "score": math.nan},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (rad.folder / "evaluations/vqa-test/predictions.jsonl").write_text(text)
    assert "The images cannot be shown: " in page("rad")[0]
    for make in (kept.found, kept.written):
        (make(rad) / "predictions.jsonl").write_text(text)
    page("rad")


def test_a_name_of_a_stranger_is_shown_as_it_is(tmp_path, base):
    os.rename(base.folder, base.folder.with_name("<b>bold"))
    assert page("<b>bold")[0].startswith("Run <b>bold")


def test_the_twin_is_drawn_beside_its_run(rad):
    shutil.copytree(rad.folder, "runs/rad-blind")
    Path("runs/rad-blind/config.json").write_text(rad.config.changed(blind=True).to_json())
    kept.measured(runs.open_run("rad-blind"), [{"kind": "eval", "step": 4, "accuracy": 0.125}])
    assert "accuracy of the twin without images" in page("rad")[0]
    assert "This is a twin that sees blank images" in page("rad-blind")[0]


def test_a_study_shows_its_arms_its_verdicts_and_what_is_not_done(tmp_path):
    kept.study(tmp_path)
    report.write(Path("page.html"), None, "tiny-vqa-rad")
    text, seen = checked("page.html")
    assert "Not done yet: mlm, seed 2." in text and "it was so." in text and "smoke" not in text
    assert "mlm and none have one seed in common: too few for a verdict." in text
    assert (
        "mlm 100.0 [100.0, 100.0]" in text and "+75.0 [" in text and "Most frequent answer of each type: 25.0 %" in text
    )
    assert "none 1 25.0 6" in text and "studies/pretrained/a" in text and "flops, to mlm" in text
    assert "python cli.py study tiny --db DATABASE --questions vqa-rad" in text and "ab" * 32 in text
    figures = [attrs["aria-label"] for tag, attrs in seen if attrs.get("role") == "img"]
    assert figures[0].startswith("Exact match in %: none 25.0 [0.0, ") and figures[0].endswith(
        "mlm 100.0 [100.0, 100.0]"
    )
    assert figures[1].startswith("Exact match less that of none, points: mlm +75.0 [")


def test_a_study_shows_the_command_that_was_noted(tmp_path):
    told = {"command": "python cli.py study tiny --db here.db", "commit": "c0ffee", "torch": "2"}
    (kept.study(tmp_path) / "environment.json").write_text(json.dumps(told))
    report.write(Path("page.html"), None, "tiny-vqa-rad")
    text, _ = checked("page.html")
    assert "python cli.py study tiny --db here.db" in text and "c0ffee" in text and "not noted" not in text


@pytest.mark.parametrize(("name", "preset"), [("tiny-quick", "full"), ("renamed", "quick")])
def test_a_quick_study_is_marked_as_no_evidence(tmp_path, name, preset):
    kept.study(tmp_path, name, preset)
    report.write(Path("page.html"), None, name)
    text, _ = checked("page.html")
    assert "A smoke test. Too few cases and steps to be evidence of anything." in text and "--preset quick" in text


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("study.json", "{", "study.json: a damaged study ("),
        ("study.json", '{"study": {"arms": {}}}', "study.json: a damaged study ("),
        ("cells/none-1.json", "{}", "none-1.json: cannot be read ("),
        ("cells/none-3.json", "x", "none-3.json: cannot be read ("),
    ],
)
def test_a_damaged_study_is_told_in_one_line(tmp_path, name, content, line):
    (kept.study(tmp_path) / name).write_text(content)
    with pytest.raises(UserError, match=re.escape(line)) as told:
        report.write(Path("page.html"), None, "tiny-vqa-rad")
    assert "\n" not in str(told.value) and not Path("page.html").exists()


def test_a_cell_of_no_meaning_is_told_in_one_line(tmp_path):
    path = kept.study(tmp_path) / "cells/none-1.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tune": "later"}))
    with pytest.raises(UserError, match=r"cells/none-1\.json: cannot be read"):
        report.write(Path("page.html"), None, "tiny-vqa-rad")


def test_runs_and_studies_that_are_not_there_are_told_with_those_that_are(tmp_path, base):
    kept.study(tmp_path)
    with pytest.raises(UserError, match="nowhere: no such run; there are: base"):
        report.write(Path("page.html"), "nowhere", None)
    with pytest.raises(UserError, match="nowhere: no such study; there are: tiny-vqa-rad"):
        report.write(Path("page.html"), None, "nowhere")


def test_thinned_points_keep_what_is_extreme():
    points = [(step, math.sin(step / 50)) for step in range(5000)]
    points[1234], points[4321] = (1234, 9.0), (4321, -9.0)
    some = curves.thinned(points)
    assert len(some) <= curves.MOST and some == sorted(some) and set(some) <= set(points)
    assert points[1234] in some and points[4321] in some
    assert curves.thinned(points[:50]) == points[:50]


@pytest.mark.parametrize("bounds", [(0, 1), (-3.2, 7.9), (1e-9, 3e-9), (0, 1e300), (999.5, 1000.5)])
def test_ticks_are_round_and_lie_within(bounds):
    low, high = bounds
    some = curves.ticks(low, high, 5)
    assert 2 <= len(some) <= 11 and all(low - 1e-6 * abs(low) <= tick <= high * (1 + 1e-6) for tick in some)


@pytest.mark.parametrize("values", [[math.nan], [math.inf, -math.inf], [1e308, -1e308], [0.0], [5e-324, 0], [2.0, 2.0]])
def test_a_chart_of_any_numbers_stays_in_its_box(values):
    made = curves.chart("loss", {"a": list(enumerate(values))})
    for part in (part for line in made.lines for part in line.parts):
        for x, y in (map(float, point.split(",")) for point in part.split()):
            assert 0 <= x <= curves.WIDTH and 0 <= y <= curves.HEIGHT


def test_records_are_read_by_kind(base):
    found = measured.read(base)
    assert (len(found.train), len(found.evals), found.unread, found.step, found.broken) == (8, 2, 0, 8, None)
    assert found.seconds == pytest.approx(8 * 8 / 100)


def run(*words):
    return CliRunner().invoke(cli.main, ["report", *words])


def test_the_command_writes_the_page_and_tells_where(tmp_path, base):
    kept.study(tmp_path)
    for words in (("--run", "base"), ("--study", "tiny-vqa-rad")):
        done = run(*words, "-o", "page.html")
        assert done.exit_code == 0 and done.stdout == f"{os.path.getsize('page.html') / 1e6:.1f} MB: page.html\n"
        told = json.loads(run(*words, "-o", "page.html", "--json").stdout)
        assert told == {"path": "page.html", "bytes": os.path.getsize("page.html")}


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (("--run", "base", "--study", "x"), 2, "--run RUN and --study NAME stand alone"),
        (("v1", "--run", "base"), 2, "--run RUN and --study NAME stand alone"),
        (("--run", "base", "--public", "--with-images"), 2, "--run RUN and --study NAME stand alone"),
        (("--run", ""), 1, "Error: no run is named: give a run's name or folder; there are: base"),
        (("--run", "nowhere"), 1, "nowhere: no such run; there are: base"),
        (("--study", "nowhere"), 1, "nowhere: no such study; there are: none (python cli.py study makes them)"),
    ],
)
def test_what_cannot_be_written_is_told_in_one_line(base, words, code, line):
    done = run(*words, "-o", "page.html")
    assert done.exit_code == code and not Path("page.html").exists()
    (told,) = [one for one in done.stderr.splitlines() if one.startswith("Error: ")]
    assert line in told


def test_a_page_that_cannot_be_written_leaves_nothing(base):
    done = run("--run", "base", "-o", "gone/page.html")
    assert done.exit_code == 1 and "gone/page.html: there is no folder" in done.stderr and not Path("gone").exists()
