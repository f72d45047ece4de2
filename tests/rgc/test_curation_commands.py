"""The commands that curate, in processes of their own, from a crawl to an export and a purge."""

import json
import shutil

import pytest

from rgc.phantom import Recipe, generate, serving
from tests.rgc.crawling import cli, crawl, json_lines, rows


@pytest.fixture(scope="module")
def crawled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("curated")
    with serving(generate(Recipe(cases=12), folder / "sample")) as base:
        done = crawl(base, folder / "data" / "corpus.db")
    assert done.returncode == 0, done.stderr
    return folder / "data"


@pytest.fixture(scope="module")
def built(crawled, tmp_path_factory):
    """A data folder with two versions: all pairs, and without the case that an evaluation set holds."""
    folder = tmp_path_factory.mktemp("built") / "data"
    shutil.copytree(crawled, folder)
    run = commands(folder)
    assert "checks hold" in run("build", "--name", "all")
    ((name,),) = rows(folder / "corpus.db", "SELECT min(upstream_name) FROM rgc WHERE caption <> ''")
    (path,) = (
        folder / row[0]
        for row in rows(folder / "corpus.db", f"SELECT image_path FROM rgc WHERE upstream_name = '{name}'")
    )
    (folder / "vqa" / "images").mkdir(parents=True)
    shutil.copy(path, folder / "vqa" / "images" / f"{name}{path.suffix}")
    question = {"qid": 1, "question": "What?", "answer": "This", "image_name": f"{name}{path.suffix}"}
    (folder / "vqa" / "trainset.json").write_text("[]")
    (folder / "vqa" / "testset.json").write_text(json.dumps([question]))
    assert "vqa-rad: 1 questions (test 1); 1 images (1 new)." in run("import", "vqa-rad", folder / "vqa")
    assert "excluded" in run("build", "--name", "clean", "--exclude", "vqa-rad:test")
    return folder


def commands(folder):
    """Run commands on a folder's corpus; each must end well, and gives what it printed."""

    def run(command, *words, code=0):
        done = cli(command, *words, "--db", folder / "corpus.db", env={"RGC_DATA": str(folder)})
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout if code == 0 else done.stdout + done.stderr

    return run


def test_an_exclusion_takes_the_case_out_and_diff_says_why(built):
    run = commands(built)
    found = json.loads(run("diff", "all", "clean", "--json"))
    assert found["removed"] and not found["added"]
    told = {(row["reason"], row["detail"].partition(" ")[0]) for row in found["removed"]}
    assert told == {("excluded", "vqa-rad:test")}
    assert "excluded" in run("diff", "all", "clean")


def test_audit_and_verify_hold_and_name_what_was_altered(built, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(built, folder)
    run = commands(folder)
    assert json.loads(run("audit", "clean", "--json"))["checks"]
    run("verify", "clean")
    ((path,),) = rows(folder / "corpus.db", "SELECT min(image_path) FROM rgc")
    (folder / path).write_bytes(b"something else")
    assert path in run("verify", "clean", code=1)
    assert path in run("audit", "clean", code=1)


def test_use_and_tag_say_which_version_is_meant(built):
    run = commands(built)
    count = "SELECT count(*) AS n FROM rgc"
    run("use", "all")
    everything = json.loads(run("sql", count, "--format", "json"))[0]["n"]
    run("tag", "clean", "1.0.0")
    run("use", "1.0.0")
    assert json.loads(run("sql", count, "--format", "json"))[0]["n"] < everything
    assert "1.0.0" in run("versions")
    assert "1.0.0" in run("tag", "all", "1.0.0", code=1)


@pytest.mark.parametrize("form", ["webdataset", "csv", "parquet", "croissant", "sqlite"])
def test_a_version_is_exported_with_its_images(built, tmp_path, form):
    run = commands(built)
    found = json.loads(run("export", "clean", "--format", form, "--with-images", "-o", tmp_path / form, "--json"))
    assert found["pairs"] > 0 and found["images"] > 0
    assert (tmp_path / form / "SHA256SUMS").is_file()


def test_purge_takes_a_pair_out_of_every_version_and_the_next_build(built, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(built, folder)
    run = commands(folder)
    ((key,),) = rows(folder / "corpus.db", "SELECT pair_id FROM rgc ORDER BY length(caption) DESC LIMIT 1")
    run("purge", key, "--why", "a test")
    run("gc", "--dry-run")
    run("gc")
    run("build", "--name", "after")
    assert rows(folder / "corpus.db", "SELECT count(*) FROM version_pair WHERE pair_id = ?", key) == [(0,)]
    assert rows(folder / "corpus.db", "SELECT count(*) FROM pair WHERE id = ?", key) == [(0,)]
    run("verify", "all")
    assert "taken down" in run("explain", key) + run("explain", key, "--json")


def test_the_data_card_tells_what_a_version_is(built):
    card = (built / "corpus.cards" / "clean.md").read_text(encoding="utf-8")
    assert "vqa-rad:test" in card and "licence" in card.lower()


def test_clean_runs_on_any_captions(tmp_path):
    (tmp_path / "in.jsonl").write_text(
        '{"id": "1", "raw": "Figure 1: R MCA  infarct (arrow)"}\n{"id": "2", "raw": "N/A"}\n'
    )
    done = cli("clean", tmp_path / "in.jsonl", "-o", tmp_path / "out.jsonl")
    assert done.returncode == 0, done.stderr
    first, second = json_lines(tmp_path / "out.jsonl")
    assert (first["clean"], second["clean"], second["drop_reason"]) == ("Right MCA infarct.", None, "placeholder")
    (tmp_path / "in.jsonl").write_text("{}\n")
    done = cli("clean", tmp_path / "in.jsonl", "-o", tmp_path / "out.jsonl")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1) and "line 1" in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("build", "--exclude", "slake:test"), "import it first"),
        (("diff", "all", "nosuch"), "nosuch"),
        (("use", "nosuch"), "nosuch"),
        (("audit", "nosuch"), "nosuch"),
        (("verify", "nosuch"), "nosuch"),
        (("purge", "nosuch", "--why", "x"), "nosuch"),
        (("import", "nosuch", "."), "nosuch"),
    ],
)
def test_what_is_not_there_is_one_line(built, words, says):
    said = commands(built)(*words, code=1)
    assert says in said and said.count("Error: ") == 1
