import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from corpus_db.read import UserError
from tests.vlt import asked, corpus, kept
from vlt import evaluate, leaks, predict, report, runs, tune
from vlt.tasks.questions import Leak, image_of, question_set

ASKED = {"source": "vqa-rad", "protocol": "image-disjoint", "language": "en", "corpora": ()}
SMALL = {"batch_size": 8, "steps": 1, "evaluate_every": 1}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RGC_DATA", str(tmp_path / "data"))
    monkeypatch.setattr("vlt.device.peak", lambda name, where: 1e9)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def address(tmp_path):
    return asked.database(tmp_path, asked.two_each(range(20)), asked.two_each(range(20, 30)))


@pytest.fixture
def base(tmp_path):
    """Pre-trained, as it tells, on v1 of nowhere.db."""
    return kept.base(tmp_path)


@pytest.fixture
def leaking(base, address):
    """The version that it learnt from: it teaches an image that is tested."""
    tested = question_set("vqa-rad", "image-disjoint", "en", address).splits["test"][0]
    version = corpus.version(base.folder.parent.parent / "images")
    pairs = (replace(version.pairs[0], sha256=image_of(tested)), *version.pairs[1:])
    return replace(version, manifest_sha256=base.corpora[0]["manifest_sha256"], pairs=pairs)


def lying(monkeypatch, places):
    """Versions by the databases that they lie in, each read by its hash or its name."""
    looked = []

    def version(key, db):
        looked.append(db)
        found = places.get(db)
        if found is None or key not in (found.name, found.manifest_sha256):
            raise UserError(f"{db}: no {key}")
        return found

    monkeypatch.setattr(leaks, "version", version)
    return looked


def unchecked(base, address, said=None):
    found = question_set("vqa-rad", "image-disjoint", "en", address)
    return leaks.unchecked(found, str(base.folder), "mine.db", (said if said is not None else []).append)


@pytest.mark.parametrize("where", ["nowhere.db", "mine.db", None])
def test_what_a_run_learnt_is_looked_for_where_it_lay_in_the_given_database_and_in_the_last(
    base, address, leaking, monkeypatch, where
):
    others = dict.fromkeys(["nowhere.db", "mine.db", None], replace(leaking, manifest_sha256="0" * 64, pairs=()))
    lying(monkeypatch, others | {where: leaking})
    with pytest.raises(Leak, match=r"version v1 teaches \d images that vqa-rad/image-disjoint/en tests"):
        unchecked(base, address)


def test_a_version_counts_by_its_hash_and_not_by_its_name(base, address, leaking, monkeypatch):
    looked = lying(monkeypatch, {"mine.db": replace(leaking, name="v7", pairs=()), None: leaking})
    assert unchecked(base, address) == [] and set(looked) == {"nowhere.db", "mine.db"}  # the first that is it
    lying(monkeypatch, {"mine.db": replace(leaking, manifest_sha256="0" * 64)})  # v1 of something else
    said = []
    doubt = f"what base (v1, manifest {leaking.manifest_sha256[:8]}) learnt from cannot be looked at, so it may hold"
    assert unchecked(base, address, said) == [f"{doubt} test images"]
    assert "nowhere.db: no v1" in said[0] and "its v1 is another" in said[0]


def test_a_password_that_was_not_kept_is_not_tried(base, address, leaking, monkeypatch):
    told = [base.corpora[0] | {"database": "postgresql+psycopg://me:***@host/name"}]
    (base.folder / "corpus.json").write_text(json.dumps(told))
    looked = lying(monkeypatch, {"mine.db": replace(leaking, pairs=())})
    assert unchecked(base, address) == [] and set(looked) == {"mine.db"}


def test_questions_that_have_changed_are_looked_at_but_stay_in_doubt(tmp_path, base, address):
    rad = kept.tuned(tmp_path, base)
    told = json.loads((rad.folder / "corpus.json").read_text())
    (rad.folder / "corpus.json").write_text(json.dumps([told[0] | {"manifest_sha256": "0" * 64}]))
    test = question_set("vqa-rad", "official", "en", address)
    only = [one for one in test.splits["test"] if one.upstream_id.startswith("test")]
    clean = replace(test, splits=test.splits | {"test": tuple(only)})
    doubts = leaks.unchecked(clean, str(rad.folder), address, lambda line: None)
    assert any(one.startswith("what rad (vqa-rad/official/en, manifest 00000000) learnt from") for one in doubts)
    with pytest.raises(Leak, match="rad was fine-tuned on vqa-rad/official/en"):
        leaks.unchecked(
            replace(test, protocol="image-disjoint", splits={**test.splits, "test": test.splits["train"]}),
            str(rad.folder),
            address,
            lambda line: None,
        )


def test_a_doubt_stays_with_the_run_its_twin_its_evaluations_and_its_page(base, address):
    given = SMALL | {"objectives": {"answer": 1.0}}
    code = tune.begin("vqa", "base", "rad", ASKED, given, address, 1, lambda line: None, twin=True)
    doubt = f"what base (v1, manifest {base.corpora[0]['manifest_sha256'][:8]}) learnt from cannot be looked at"
    told = [f"{doubt}, so it may hold test images"]
    assert code == 0 and runs.open_run("rad").unchecked == runs.open_run("rad-blind").unchecked == told
    found = evaluate.vqa("rad", "test", None, 1, 0, lambda line: None)
    assert found.result["unchecked"] == told and f"unchecked: {told[0]}" in found.lines
    assert json.loads((found.folder / "result.json").read_text())["unchecked"] == told
    report.write(Path("page.html"), "rad", None)
    page = Path("page.html").read_text()
    assert f"Unchecked when it began: {told[0]}." in page and f"Unchecked: {told[0]}." in page
    assert runs.open_run("base").unchecked == []


@pytest.mark.parametrize("content", ["{", "[]", '{"unchecked": 7}', '{"unchecked": [7]}'])
def test_an_odd_doubt_of_a_stranger_is_none(base, content):
    (base.folder / "environment.json").write_text(content)
    assert runs.open_run("base").unchecked == []


def test_two_versions_of_one_name_are_evaluated_side_by_side(base, monkeypatch):
    own = corpus.version(Path("images"))
    other = replace(own, manifest_sha256="3873e714" + "0" * 56, database="other.db")
    monkeypatch.setattr(evaluate, "version", lambda key, db: other if db == "other.db" else own)
    for db, name, version in (
        (None, "retrieval-val-exact", own),
        ("other.db", "retrieval-val-v1-3873e714-exact", other),
    ):
        found = evaluate.retrieval("base", "val", None, db, 16, True, None, lambda line: None)
        kept_ = json.loads((found.folder / "result.json").read_text())
        assert found.folder.name == name
        assert (kept_["manifest_sha256"], kept_["database"]) == (version.manifest_sha256, version.database)


def test_weights_whose_writer_told_no_hash_have_one(base):
    from safetensors.torch import load_file, save_file

    path = base.folder / predict.FILE
    told = predict.weights_sha256(path)
    save_file(load_file(path), path, {"format": "older"})
    assert told and predict.weights_sha256(path) == told
    path.write_bytes(b"damaged")
    assert predict.weights_sha256(path) is None
