import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import cli
from corpus_db.read import UserError
from tests.vlt import asked, corpus
from vlt import evaluate, leaks, runs, start, tune
from vlt.metrics import meteor
from vlt.predict import weights_sha256
from vlt.runs import Corpus
from vlt.tasks.pretraining import pretrain
from vlt.tasks.questions import question_set
from vlt.tasks.report import constant

TRAIN, TEST = range(24), range(22, 28)


def run(*words):
    return CliRunner().invoke(cli.main, [str(word) for word in words])


def told(done, code=1):
    """The one line that a refusal is, behind what was said before."""
    assert done.exit_code == code and "Traceback" not in done.output, (done.output, done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    lines = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1 and done.stderr.rstrip().splitlines()[-1] == lines[0]
    return lines[0]


def small(*more, **changes):
    return asked.settings(**{"steps": 2, "evaluate_every": 1, "backbone": "vit_nano", **changes}) + list(more)


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A database, and runs: seen (pretrain), rad and rad-blind (vqa), found (retrieval), written (report)."""
    folder = tmp_path_factory.mktemp("tasks")
    version = corpus.version(folder / "images", train=14, val=6)
    pairs = [replace(pair, split="test") if place >= 16 else pair for place, pair in enumerate(version.pairs)]
    version = replace(version, pairs=tuple(pairs))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("RGC_DATA", str(folder / "data"))
        patch.setattr(meteor, "absent", lambda: "not asked for")
        for module in (tune, evaluate, start, leaks):
            patch.setattr(module, "version", lambda key, db: named(version, key))
        patch.setattr(start, "leaks", lambda version, db: {})
        patch.setattr("corpus_db.read.version", lambda key, db=None: named(version, key))
        asked.database(folder, asked.two_each(TRAIN), asked.two_each(TEST))
        objectives = {"mlm": 1.0, "itc": 1.0}
        quick = {"steps": 2, "evaluate_every": 2, "backbone": "vit_nano", "objectives": objectives}
        made = runs.create(Path("runs/seen"), corpus.config(**quick), [Corpus(version)], corpus.tiny.TOKENIZER)
        pretrain(made, [Corpus(version)], lambda line: None)
        done = run("finetune", "vqa", "--from", "none", "--name", "rad", "--db", folder / "corpus.db", *small())
        assert done.exit_code == 0, done.output
        for task, name, objectives in (
            ("retrieval", "found", {"itc": 1.0, "itm": 1.0}),
            ("report", "written", {"lm": 1.0}),
        ):
            words = ["finetune", task, "--from", "seen", "--name", name, "--set", "batch_size=8", "--steps", "2"]
            done = run(*words, "--set", "evaluate_every=1", "--set", f"objectives={json.dumps(objectives)}")
            assert done.exit_code == 0, done.output
        yield folder
    torch.set_num_threads(before)


def named(version, key):
    if key not in (None, "v1"):
        raise UserError(f"{key}: no such version; there are v1")
    return version


def lines(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_fine_tuning_leaves_runs_of_their_task_that_kept_their_best(here):
    kinds = {name: runs.open_run(name).config.task for name in ("rad", "rad-blind", "found", "written", "seen")}
    assert kinds == {
        "rad": "vqa",
        "rad-blind": "vqa",
        "found": "retrieval",
        "written": "report",
        "seen": "pretrain",
    }
    assert runs.open_run("found").tokenizer.vocabulary == runs.open_run("seen").tokenizer.vocabulary
    assert "accuracy" in run("runs").stdout and "recall" in run("runs").stdout


def test_answers_are_evaluated_beside_the_twin_and_the_baseline(here):
    done = run("evaluate", "vqa", "--run", "rad")
    assert done.exit_code == 0, done.output
    assert "this protocol leaks: 2 of 6 test images stand in training, too" in done.stdout
    assert "| questions | n | images | ceiling | chosen | written | without the image | most frequent |" in done.stdout
    assert "chosen less without the image: " in done.stdout
    folder = Path("runs/rad/evaluations/vqa-test")
    assert done.stderr == f"kept in {folder}\n"
    kept = lines(folder / "predictions.jsonl")
    assert [one["id"] for one in kept] == [f"test:{2 * image + place}" for image in TEST for place in (0, 1)]
    assert {"image", "truth", "output", "score"} <= set(kept[0]) and 0 < kept[0]["score"] <= 1
    result = json.loads((folder / "result.json").read_text())
    assert result["groups"]["overall"]["questions"] == 12 and result["groups"]["overall"]["ceiling"] == 1.0
    right = sum(one["right"] for one in kept) / 12
    assert result["groups"]["overall"]["systems"]["chosen"]["exact"] == pytest.approx(right)
    wrong = [one["score"] for one in lines(folder / "worst.jsonl")]
    assert wrong == sorted((one["score"] for one in kept if not one["right"]), reverse=True)
    table = list(csv.reader((folder / "confusion.csv").open()))
    counts = [[int(cell) for cell in row[1:]] for row in table[1:]]
    assert sum(map(sum, counts)) == 12 and sum(counts[place][place] for place in range(4)) == 12 * right
    assert (folder / "table.md").read_text() == done.stdout


def test_the_most_frequent_answers_are_those_of_training(here):
    result = json.loads(run("evaluate", "vqa", "--run", "rad", "--json").stdout)
    frequent = {name: group["systems"]["most frequent"]["exact"] for name, group in result["groups"].items()}
    assert frequent["closed"] == frequent["open"] == 0.5  # each answer is right about every other image
    assert result == json.loads(Path("runs/rad/evaluations/vqa-test/result.json").read_text())
    assert result["outside"] == {"count": 0, "of": 12, "first": None}


def test_a_run_without_a_twin_says_so_and_a_twin_of_other_questions_is_refused(here, tmp_path):
    done = run("evaluate", "vqa", "--run", "rad-blind", "--split", "val", "--json")
    assert done.exit_code == 0 and json.loads(done.stdout)["split"] == "val"
    assert Path("runs/rad-blind/evaluations/vqa-val/predictions.jsonl").is_file()
    Path("runs/rad-blind").rename("runs/away")
    try:
        done = run("evaluate", "vqa", "--run", "rad")
        assert done.exit_code == 0 and "compare with: runs/rad-blind is not there" in done.stdout
    finally:
        Path("runs/away").rename("runs/rad-blind")
    path = Path("runs/rad-blind/corpus.json")
    before = path.read_text()
    path.write_text(json.dumps([question_set("vqa-rad", "image-disjoint", "en", "corpus.db").told()]))
    try:
        assert_no_twin("its settings or questions are others; not shown")
    finally:
        path.write_text(before)


def assert_no_twin(why):
    done = run("evaluate", "vqa", "--run", "rad")
    assert done.exit_code == 0 and why in done.stdout and "without the image |" not in done.stdout


def test_a_run_that_only_bears_a_twins_name_is_not_shown_as_one(here):
    path = Path("runs/rad-blind/config.json")
    before = path.read_text()
    try:
        path.write_text(json.dumps(json.loads(before) | {"seed": 77}))
        assert_no_twin("runs/rad-blind: no twin of rad")
    finally:
        path.write_text(before)
    model = Path("runs/rad-blind/model.safetensors")
    model.rename("away.safetensors")
    try:
        assert_no_twin("not trained yet; go on with: python cli.py finetune vqa --resume rad")
    finally:
        Path("away.safetensors").rename(model)


def test_a_run_is_not_tested_on_what_a_run_before_it_learnt(here):
    line = told(run("finetune", "vqa", "--from", "rad", "--protocol", "image-disjoint", "--name", "chain"))
    assert "rad was fine-tuned on vqa-rad/official/en, which holds" in line and not Path("runs/chain").exists()


def test_a_damaged_model_is_refused(here):
    path = Path("runs/rad/model.safetensors")
    before = path.read_bytes()
    middle = len(before) - 400
    try:
        path.write_bytes(
            before[:middle] + bytes(255 - byte for byte in before[middle : middle + 40]) + before[middle + 40 :]
        )
        assert "its weights are damaged" in told(run("evaluate", "vqa", "--run", "rad"))
    finally:
        path.write_bytes(before)


def test_a_run_that_answers_does_not_caption(here, tmp_path):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "scan.png")
    assert "give one (--question)" in told(run("predict", "--run", "rad", tmp_path / "scan.png"))


def test_other_questions_than_those_learned_from_are_not_answered(here, tmp_path):
    other = asked.database(tmp_path, asked.two_each(TRAIN), asked.two_each(TEST[:-1]))
    line = told(run("evaluate", "vqa", "--run", "rad", "--db", other))
    assert "runs/rad: the questions of vqa-rad/official/en are not those that it learned from any more" in line
    same = asked.database(tmp_path / "same", asked.two_each(TRAIN), asked.two_each(TEST))
    assert run("evaluate", "vqa", "--run", "rad", "--db", same).exit_code == 0


def test_retrieval_is_evaluated_with_chance_beside_it(here):
    done = run("evaluate", "retrieval", "--run", "found", "--split", "train", "--json")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert (result["task"], result["version"], result["pool"], result["tuned"]) == ("retrieval", "v1:train", 14, True)
    done = run("evaluate", "retrieval", "--run", "seen", "--split", "train")
    assert done.exit_code == 0 and "zero-shot" in done.stdout and "chance" in done.stdout


@pytest.mark.parametrize(("limit", "pool"), [((), 14), (("--limit", 5), 5)])
def test_what_was_found_for_each_pair_is_kept_both_ways(here, limit, pool):
    done = run("evaluate", "retrieval", "--run", "found", "--split", "train", "--json", *limit)
    assert done.exit_code == 0, done.output
    name = "retrieval-train-of-5" if limit else "retrieval-train"
    result, folder = json.loads(done.stdout), Path("runs/found/evaluations") / name
    assert result == json.loads((folder / "result.json").read_text()) and "best" not in result
    pairs = {pair.pair_id: pair for pair in tune.version(None, None).pairs if pair.split == "train"}
    kept = lines(folder / "predictions.jsonl")
    for way, tell in (("image_to_text", "caption"), ("text_to_image", "image_path")):
        own = [one for one in kept if one["way"] == way]
        assert len(own) == len({one["id"] for one in own}) == pool and own[0]["id"] == "test/0"
        for one in own:
            pair, first = pairs[one["id"]], pairs[one["output_id"]]
            assert (one["image"], one["truth"]) == (pair.image_path, getattr(pair, tell))
            assert one["output"] == getattr(first, tell) and isinstance(one["score"], float)
            assert one["method"] == "rerank"
        right = sum(one["output"] == one["truth"] for one in own) / pool
        assert right == pytest.approx(result["scores"][way]["rerank"]["strict"]["r1"])  # all are distinct
    assert len(kept) == 2 * pool


@pytest.mark.parametrize(
    ("words", "folder", "settings"),
    [
        (("report", "--run", "written", "--beams", 1), "report-test-beams-1", {"beams": 1}),
        (
            ("report", "--run", "written", "--length-penalty", 0.5, "--no-repeat", 2, "--limit", 3),
            "report-test-of-3-length-penalty-0.5-no-repeat-2",
            {"length_penalty": 0.5, "no_repeat": 2},
        ),
        (("retrieval", "--run", "found", "--k", 2), "retrieval-test-k-2", {"k": 2}),
        (("retrieval", "--run", "found", "--exact"), "retrieval-test-exact", {"exact": True}),
        (("retrieval", "--run", "found", "--corpus", "v1"), "retrieval-test", {}),  # its own
        (("vqa", "--run", "rad", "--beams", 1), "vqa-test-beams-1", {"beams": 1}),
    ],
)
def test_an_evaluation_with_other_settings_has_its_own_folder_and_the_usual_one_stays(here, words, folder, settings):
    task, _, name, *_ = words
    places = Path("runs") / name / "evaluations"
    usual = places / f"{task}-test" / "result.json"
    usual.parent.mkdir(parents=True, exist_ok=True)
    usual.write_text("as it was")
    done = run("evaluate", *words)
    assert done.exit_code == 0 and done.stderr.splitlines()[-1] == f"kept in {places / folder}", done.output
    told_ = json.loads((places / folder / "result.json").read_text())["settings"]
    assert told_ == evaluate.USUAL[task] | settings
    assert (usual.read_text() == "as it was") == (folder != usual.parent.name)
    done = run("evaluate", task, "--run", name)
    assert done.exit_code == 0 and json.loads(usual.read_text())["settings"] == evaluate.USUAL[task]


def test_reports_are_evaluated_beside_the_constant_and_the_nearest(here):
    done = run("evaluate", "report", "--run", "written", "--json")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert list(result["systems"]) == ["written", "best constant", "of the nearest"] and result["pairs"] == 4
    captions = {pair.split: [] for pair in tune.version(None, None).pairs}
    for pair in tune.version(None, None).pairs:
        captions[pair.split].append(pair.caption)
    fixed, score = constant(captions["train"], captions["val"])  # the test split has no say
    assert result["constant"] == {"text": fixed, "BLEU-4 on val": score} and captions["val"] != captions["test"]
    kept = lines("runs/written/evaluations/report-test/predictions.jsonl")
    assert [one["truth"] for one in kept] == captions["test"]
    assert all({"image", "truth", "output", "score"} <= set(one) and one["score"] < 0 for one in kept)
    alike = [one["rouge_l"] for one in kept]
    assert sum(alike) / 4 == pytest.approx(result["systems"]["written"]["ROUGE-L"])
    for name, backwards in (("worst", False), ("best", True)):
        some = lines(f"runs/written/evaluations/report-test/{name}.jsonl")
        assert [one["rouge_l"] for one in some] == sorted(alike, reverse=backwards)
    noted = json.loads(Path("runs/written/evaluations/report-test/environment.json").read_text())
    assert noted["weights_sha256"] == weights_sha256(Path("runs/written/model.safetensors")) and noted["torch"]
    shown = run("evaluate", "report", "--run", "written", "--beams", 1, "--limit", 3).stdout
    assert "| 3 pairs | written | best constant | of the nearest |" in shown and "| METEOR | absent |" in shown


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("finetune", "vqa", "--from", "none", "--source", "slake"), "slake: no such questions; sources here: vqa-rad"),
        (("finetune", "vqa", "--from", "none", "--language", "zh"), "vqa-rad: no questions in 'zh'; there are en"),
        (("finetune", "vqa", "--from", "nowhere"), "nowhere: no such run; there are: found, rad, rad-blind, seen"),
        (("finetune", "vqa", "--from", "none", "--set", "bogus=1"), "--set bogus: no such setting"),
        (("finetune", "vqa", "--from", "rad", "--set", "width=64"), "width 64: the run's model has 32"),
        (("finetune", "vqa", "--from", "none", "--name", "a/b"), "--name a/b: give a name without folders"),
        (("finetune", "vqa", "--from", "seen", "--name", "rad", "--no-twin"), "runs/rad: there is such a run"),
        (("finetune", "vqa", "--from", "seen", "--name", "rad"), "runs/rad-blind: there is such a run"),
        (("finetune", "vqa", "--from", "none", "--db", "none.db"), "none.db: no such database"),
        (("finetune", "report", "--from", "seen", "--corpus", "v9"), "v9: no such version"),
        (("finetune", "report", "--resume", "nowhere"), "nowhere: no such run"),
        (("finetune", "report", "--resume", "rad"), "go on with it by: python cli.py finetune vqa --resume rad"),
        (
            ("finetune", "vqa", "--resume", "seen"),
            "go on with it by: python cli.py pretrain --resume seen",
        ),
        (("pretrain", "--resume", "rad"), "go on with it by: python cli.py finetune vqa --resume rad"),
        (("finetune", "vqa", "--resume", "rad", "--seed", "9"), "began with seed 1, not 9"),
        (("evaluate", "vqa", "--run", "nowhere"), "nowhere: no such run"),
        (
            ("evaluate", "vqa", "--run", "seen"),
            "runs/seen: no run that answers questions; make one with: python cli.py",
        ),
        (("evaluate", "vqa", "--run", "found"), "runs/found: no run that answers questions"),
        (("evaluate", "report", "--run", "seen"), "runs/seen: it did not learn to write (lm)"),
        (("evaluate", "report", "--run", "rad"), "runs/rad: it learned from questions; name a version: --corpus"),
        (("evaluate", "retrieval", "--run", "rad"), "runs/rad: it learned from questions; name a version: --corpus"),
        (("evaluate", "retrieval", "--run", "found", "--corpus", "v9"), "v9: no such version"),
        (("evaluate", "retrieval", "--run", "written"), "retrieval needs itc or itm among its objectives"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(here, words, line):
    if words[0] == "finetune" and words[1] == "vqa" and "--db" not in words:
        words = (*words, "--db", str(here / "corpus.db"))
    before = sorted(Path("runs").iterdir())
    assert line in told(run(*words))
    assert sorted(Path("runs").iterdir()) == before  # nothing takes a name


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("finetune", "vqa"), "give --from RUN (or --from none), or --resume RUN to go on with a run"),
        (("finetune", "vqa", "--from", "seen", "--resume", "rad"), "give --from RUN"),
        (("finetune", "vqa", "--resume", "rad", "--name", "x"), "--name does not go with --resume"),
        (("finetune", "vqa", "--resume", "rad", "--source", "slake"), "--source does not go with --resume"),
        (("finetune", "vqa", "--resume", "rad", "--protocol", "official"), "--protocol does not go with --resume"),
        (("finetune", "report", "--resume", "written", "--corpus", "v1"), "--corpus does not go with --resume"),
        (
            ("finetune", "vqa", "--from", "seen", "--steps", "2", "--set", "steps=3"),
            "--steps and --set steps=...: give",
        ),
        (("finetune", "vqa", "--from", "none", "--protocol", "mine"), "'mine' is not one of"),
        (("evaluate", "vqa", "--run", "rad", "--split", "mine"), "'mine' is not one of"),
        (("evaluate", "vqa"), "Missing option '--run'"),
        (("evaluate", "vqa", "--run", "rad", "--beams", "0"), "0 is not in the range 1<=x<=64"),
        (("evaluate", "report", "--run", "written", "--beams", "65"), "65 is not in the range 1<=x<=64"),
        (("evaluate", "report", "--run", "written", "--length-penalty", "-1"), "-1.0 is not in the range x>=0"),
        (("evaluate", "report", "--run", "written", "--no-repeat", "-1"), "-1 is not in the range x>=0"),
        (("evaluate", "retrieval", "--run", "found", "--k", "0"), "0 is not in the range x>=1"),
        (("evaluate", "retrieval", "--run", "found", "--limit", "1"), "1 is not in the range x>=2"),
        (("finetune", "vqa", "--from", "seen", "--seed", "-1"), "-1 is not in the range 0<=x<="),
        (("finetune", "vqa", "--from", "seen", "--steps", "0"), "0 is not in the range x>=1"),
        (("pretrain", "--seed", "-1"), "-1 is not in the range 0<=x<="),
    ],
)
def test_options_that_do_not_go_together_are_told(here, words, line):
    assert line in told(run(*words), code=2)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("[", "answers.json: damaged"),
        ("7", "answers.json: damaged"),
        ('["left"]', "answers.json: not the answers that its model chooses from"),
        ('["left", "no", "right", "maybe"]', "answers.json: not the answers that its model chooses from"),
    ],
)
def test_damaged_answers_are_told_and_never_used(here, content, line):
    path = Path("runs/rad/answers.json")
    before = path.read_text()
    path.write_text(content)
    try:
        assert line in told(run("evaluate", "vqa", "--run", "rad"))
        resumed = told(run("finetune", "vqa", "--resume", "rad", "--processes", "1"))
        assert "damaged" in resumed or "the answers to choose from was" in resumed or "not of this run's" in resumed
    finally:
        path.write_text(before)
    assert run("evaluate", "vqa", "--run", "rad").exit_code == 0


def test_a_run_whose_training_has_not_ended_says_how_to_go_on(here):
    for name, command in (("rad", "vqa"), ("found", "retrieval"), ("written", "report")):
        file = Path(f"runs/{name}/model.safetensors")
        file.rename(here / "away")
        try:
            line = told(run("evaluate", command, "--run", name))
            assert f"its training has not ended; go on with: python cli.py finetune {command} --resume {name}" in line
        finally:
            (here / "away").rename(file)


def test_missing_images_are_told_and_a_blind_run_needs_none(here, tmp_path):
    bare = asked.database(tmp_path, asked.two_each(TRAIN), asked.two_each(TEST), [])
    words = ["finetune", "vqa", "--from", "none", "--db", bare]
    line = told(run(*words, "--name", "bare", *small()))
    assert "no training question is left: 60 are left out, its image is not here" in line and "with its images" in line
    done = run(*words, "--name", "bare", "--blind", *small())
    assert done.exit_code == 0 and not Path("runs/bare-blind").exists(), done.output
    assert run("finetune", "vqa", "--resume", "bare", "--processes", "1").exit_code == 0
    done = run("evaluate", "vqa", "--run", "bare", "--json")
    assert done.exit_code == 0 and json.loads(done.stdout)["groups"]["overall"]["questions"] == 12
    broken = asked.database(tmp_path / "broken", asked.two_each(TRAIN[1:]), asked.two_each(TEST))
    for path in (tmp_path / "broken").rglob("*.png"):
        path.write_bytes(b"no image")
    words = ["finetune", "vqa", "--from", "none", "--db", broken, "--name", "broken"]
    assert "none of its 27 images can be read" in told(run(*words, "--no-twin", *small()))
