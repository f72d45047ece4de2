import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import cli
from corpus_db.read import UserError
from vlt.metrics import meteor, text
from vlt.metrics.score import TERMS, read, single
from vlt.metrics.text import sentence_scores

REFS = {"1": ["No effusion.", "No pleural effusion is seen."], "2": ["A mass in the left lung."]}
HYPS = {"1": "no effusion", "2": ["a mass in the right lung"]}


@pytest.fixture(autouse=True)
def no_java(monkeypatch):
    monkeypatch.setattr(meteor, "absent", lambda: "no Java")


@pytest.fixture
def files(tmp_path):
    def write(refs=REFS, hyps=HYPS):
        paths = tmp_path / "refs.json", tmp_path / "hyps.json"
        for path, content in zip(paths, (refs, hyps), strict=True):
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        return [str(path) for path in paths]

    return write


def run(*words):
    return CliRunner().invoke(cli.main, ["score", *words])


def test_json_has_every_score_and_says_why_one_is_absent(files):
    done = run(*files(), "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["pairs"] == 2 and found["METEOR"] is None and found["absent"] == {"METEOR": "no Java"}
    assert found["clinical-term F1"] == 0.5 and found["clinical-term precision"] == found["clinical-term recall"] == 0.5
    assert set(text.METRICS) < set(found)


def test_the_table_has_six_digits_and_names_what_is_absent(files):
    lines = run(*files()).stdout.splitlines()
    assert lines[0].split() == ["pairs", "2"]
    assert "METEOR                   absent (no Java)" in lines
    assert "clinical-term F1         0.500000  [0.000, 1.000]" in lines


def test_scores_have_intervals_by_samples_of_ids_and_one_id_has_none(files):
    paths = files(REFS | {"3": ["a cyst"]}, HYPS | {"3": "a cyst in the kidney"})
    found = json.loads(run(*paths, "--json").stdout)
    names = [name for name in (*text.METRICS, *TERMS.values()) if found[name] is not None]
    assert len(names) == 9 and {name for name in found if name.endswith("_95")} == {f"{name}_95" for name in names}
    assert all(found[f"{name}_95"][0] <= found[name] <= found[f"{name}_95"][1] for name in names)
    each = sentence_scores(read(Path(paths[0])), single(Path(paths[1]))).rouge_l
    assert found["ROUGE-L_95"] == pytest.approx([each.min(), each.max()])  # of 3, one thrice is 1 sample in 27
    alone = run(*files({"1": "no mass"}, {"1": "no mass"})).stdout
    assert "[" not in alone


def test_texts_without_a_finding_have_no_clinical_score(files):
    found = json.loads(run(*files({"1": "the chest"}, {"1": "the chest"}), "--json").stdout)
    assert found["clinical-term F1"] is None and found["absent"]["clinical-term F1"] == "no finding word there"


def test_raw_takes_the_texts_as_they_are(files):
    paths = files({"1": "No effusion."}, {"1": "no effusion ."})
    tokenised, raw = (json.loads(run(*paths, "--json", *more).stdout)["BLEU-1"] for more in ([], ["--raw"]))
    assert tokenised == pytest.approx(1) and raw < 0.01


@pytest.mark.parametrize(
    "refs, hyps, message",
    [
        (REFS, "{", "hyps.json: not JSON ("),
        (REFS, "[" * 100_000, "hyps.json: not JSON ("),
        (REFS, [["1", "x"]], "hyps.json: a list where an object is needed"),
        ({**REFS, "2": 5}, HYPS, "refs.json: id '2' has a number; give a text"),
        ({**REFS, "2": {"a": "b"}}, HYPS, "refs.json: id '2' has an object; give a text"),
        ({**REFS, "2": ["x", None]}, HYPS, "refs.json: id '2' has null among its texts"),
        ('{"1": "x", "1": "y"}', HYPS, "refs.json: id '1' stands there twice"),
        (REFS, {**HYPS, "2": ["x", "y"]}, "hyps.json: id '2' has 2 texts; a hypothesis is one text"),
        (REFS, {**HYPS, "2": []}, "hyps.json: id '2' has 0 texts"),
        (REFS, {"1": "x"}, "hyps.json: no id '2', which "),
        (REFS, {**HYPS, "2": " "}, "hyps.json: id '2': the text is empty"),
        ({**REFS, "2": []}, HYPS, "refs.json: id '2': a reference is empty"),
        ({}, {}, "hyps.json: no texts"),
    ],
)
def test_trouble_is_one_line_that_names_file_and_id(files, refs, hyps, message):
    done = run(*files(refs, hyps))
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ") and done.stderr.count("\n") == 1
    assert message in done.stderr


def test_a_file_that_is_not_utf_8_is_no_json(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(b'{"1": "\xff"}')
    with pytest.raises(UserError, match="not JSON"):
        read(path)


def test_a_byte_order_mark_is_no_trouble(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(b'\xef\xbb\xbf{"1": "x"}')
    assert single(path) == {"1": "x"}
