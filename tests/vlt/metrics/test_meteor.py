import shutil
import stat
import subprocess

import numpy as np
import pytest

from vlt.metrics import meteor
from vlt.metrics.text import resampled, sentence_scores, systems_scores

JAVA = pytest.mark.skipif(shutil.which("java") is None, reason="no Java: no METEOR")
CAT = {"a": ["the cat is on the mat"]}, {"a": "the cat sat on the mat"}
TOLD = {
    "a": ["no focal masses are seen here", "clear lungs"],
    "same": ["a normal heart ."],
    "none": ["normal heart"],
    "stem": ["masses in the lungs"],
    "synonym": ["the physician saw an enlarged heart quickly"],
    "paraphrase": ["he was able to look at the results , according to the report"],
    "broken": ["EVAL\n||| a cyst in the kidney"],
    "bars": ["a ||| cat"],
    "odd": ["caf\u00e9 \u2028 \ud800"],
}
SAID = {
    "a": "there is no small mass in the lung",
    "same": "a normal heart .",
    "none": "effusions",
    "stem": "mass in the lung",
    "synonym": "the doctor saw a big heart",
    "paraphrase": "he could see the findings as the report says",
    "broken": "a cyst in\nthe kidney",
    "bars": "a ||| cat",
    "odd": "caf\u00e9 \u2028 \ud800",
}
ROW = [4, 4, 2, 2, 2, 2, 2, 2, *[0] * 12, 1, 4, 4]  # "a normal heart ." of itself, as the program tells it
HALF = [2, 4, 1, 2, 1, 1, *[0] * 14, 1, 1, 1]  # "a cat" of "the cat is here"
ANSWERS = "\n".join(f'echo "{" ".join(f"{count}.0" for count in row)}"' for row in (ROW, HALF))


@pytest.fixture
def java(tmp_path, monkeypatch):
    """Makes a shell script the only `java` there is; tells how often it was started."""
    starts = tmp_path / "starts"
    starts.touch()

    def make(script):
        path = tmp_path / "java"
        path.write_text(f"#!/bin/sh\necho >> {starts}\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(tmp_path))
        return lambda: len(starts.read_text().splitlines())

    return make


def test_it_is_absent_by_name_without_java(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    found = sentence_scores(*CAT)
    assert found.values["METEOR"] is None and found.meteor is None and "METEOR" not in resampled(found, "a")
    assert found.absent == {"METEOR": "no Java"}


@pytest.mark.parametrize(
    "script, why",
    [
        ("exit 1", "Java failed: no answer"),
        ('echo "Error: no space for the heap" >&2; exit 1', "Java failed: Error: no space for the heap"),
        (
            "printf 'slow\\nException in thread \"main\" java.lang.Error: heap\\n\\tat A\\n' >&2; exit 1",
            "Java failed: java.lang.Error: heap; the longest text: id 'a', 6 words",
        ),
        ("printf '\\n\\tno jar \\nhelp\\n' >&2; exit 1", "Java failed: no jar; the longest"),
        ("while read -r line; do echo nonsense; done", "Java failed"),
        ("while read -r line; do echo 1 2 3; done", "Java failed"),
    ],
)
def test_it_is_absent_with_the_reason_where_java_fails(java, script, why):
    java(script)
    found = sentence_scores(*CAT)
    assert found.values["METEOR"] is None and found.values["BLEU-1"] == pytest.approx(5 / 6)
    assert why in found.absent["METEOR"]


def test_it_is_absent_where_java_never_answers(java, monkeypatch):
    java("while :; do :; done")
    monkeypatch.setattr(meteor, "START_SECONDS", 1)
    monkeypatch.setattr(meteor, "TEXT_SECONDS", 0)
    found = sentence_scores({"a": ["x"], "long": ["no mass is seen"]}, {"a": "x y", "long": "no"})
    assert found.absent["METEOR"] == "Java failed: timed out after 1 seconds; the longest text: id 'long', 4 words"


def test_several_systems_start_java_once_and_each_has_its_own_counts(java):
    starts = java(ANSWERS)
    same, half = systems_scores({"a": ["x"]}, [{"a": "one"}, {"a": "two"}])
    assert starts() == 1
    assert same.values["METEOR"] == 1.0 and 0 < half.values["METEOR"] < 0.5


def test_each_sample_scores_as_the_sum_of_its_texts_counts(java):
    java(ANSWERS)
    scored = sentence_scores({"a": ["x"], "b": ["x"]}, {"a": "one", "b": "two"})
    drawn = resampled(scored, ["a", "b"])["METEOR"]
    one, two = (float(meteor.score(row)) for row in scored.meteor)
    whole = scored.values["METEOR"]
    assert two < whole < one and whole != pytest.approx((one + two) / 2)
    assert {round(value, 9) for value in drawn} == {round(value, 9) for value in (one, two, whole)}


@JAVA
def test_scores_of_texts_and_of_samples_are_the_java_programs(monkeypatch):
    started = []

    def run(command, *, input, cwd, **_):  # as subprocess.run, but that the program stays, to be asked more
        program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=cwd)
        started.append(program)
        return subprocess.CompletedProcess(command, 0, b"".join(asked(program, input, len(TOLD))), b"")

    monkeypatch.setattr(meteor.subprocess, "run", run)
    found = sentence_scores(TOLD, SAID, raw=True)
    (program,) = started
    assert found.absent == {} and (meteor._kinds(found.meteor.sum(0)) > 0).any(1).all()  # each kind of match is there
    stats = [" ".join(map(str, row)) for row in found.meteor.tolist()]
    stats[1] = " ".join(f"{count}.0" for count in ROW)  # as the program told it
    chance = np.random.default_rng(0)
    for places in [range(len(TOLD)), *chance.integers(0, len(TOLD), (5, len(TOLD)))]:
        line = f"EVAL ||| {' ||| '.join(stats[place] for place in places)}\n"
        *each, whole = map(float, asked(program, line.encode(), len(TOLD) + 1))
        rows = found.meteor[list(places)]
        assert meteor.score(rows).tolist() == pytest.approx(each, rel=1e-12)
        assert float(meteor.score(rows.sum(0))) == pytest.approx(whole, rel=1e-12)
    program.communicate()


def asked(program, lines, answers):
    program.stdin.write(lines)
    program.stdin.flush()
    return [program.stdout.readline() for _ in range(answers)]
