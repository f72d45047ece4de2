import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rgc.phantom import Recipe, generate
from rgc.phantom.generate import CHUNK

TINY = Recipe(seed=5, cases=7)
# To pin anew, after raising recipe.GENERATOR:  PYTHONPATH=. python tests/phantom/test_phantom_generate.py
GOLDEN = "306e1f3c13bc96adb87f4d0a0c58159c7ae06d00e1a67cce18dedf342f607395"


def file_hashes(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def content_hash(folder: Path) -> str:
    """Decoded pixels and texts: PNG and JPEG bytes may differ with the machine's zlib and libjpeg, these must not."""
    digest = hashlib.sha256()
    for name in ("encounters.jsonl", "topics.jsonl", "truth.jsonl"):
        digest.update((folder / name).read_bytes())
    for path in sorted((folder / "images").glob("*.png")):
        digest.update(np.asarray(Image.open(path)).tobytes())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(TINY, tmp_path_factory.mktemp("tiny") / "sample", workers=1)


def test_a_tiny_sample_is_the_pinned_one(tiny: Path) -> None:
    assert content_hash(tiny) == GOLDEN


def test_two_workers_give_the_bytes_of_one(tiny: Path, tmp_path: Path) -> None:
    assert file_hashes(generate(TINY, tmp_path / "two", workers=2)) == file_hashes(tiny)


def test_a_fresh_process_with_another_hash_seed_gives_the_same_bytes(tiny: Path, tmp_path: Path) -> None:
    code = f"from rgc.phantom import *; generate({TINY!r}, {str(tmp_path / 'fresh')!r}, workers=1)"
    environment = os.environ | {"PYTHONHASHSEED": "77", "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert file_hashes(tmp_path / "fresh") == file_hashes(tiny)


def test_another_seed_gives_another_sample(tiny: Path, tmp_path: Path) -> None:
    assert content_hash(generate(Recipe(seed=6, cases=7), tmp_path / "other", workers=1)) != content_hash(tiny)


def test_a_whole_sample_is_used_again_without_rendering(tiny: Path) -> None:
    before = file_hashes(tiny)
    times = {path: path.stat().st_mtime_ns for path in tiny.rglob("*")}
    assert generate(TINY, tiny) == tiny
    assert {path: path.stat().st_mtime_ns for path in tiny.rglob("*")} == times
    assert file_hashes(tiny) == before


def test_it_is_told_how_many_cases_are_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corpus_db.progress.PLAIN_SECONDS", 0)
    monkeypatch.setattr("sys.stderr", io.StringIO())
    lines: list[str] = []
    generate(Recipe(cases=2 * CHUNK), tmp_path / "s", workers=1, say=lines.append)
    assert lines[0].startswith(f"{CHUNK} of {2 * CHUNK} cases to render, ")


def test_strangers_files_are_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="is no sample"):
        generate(TINY, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_another_sample_in_the_way_is_refused(tiny: Path) -> None:
    with pytest.raises(ValueError, match="holds another sample"):
        generate(Recipe(seed=8, cases=7), tiny)


def killed_generation(target: Path, cases: int) -> Path:
    """Kill a generation once it has finished a chunk; the folder it leaves."""
    code = f"from rgc.phantom import *; generate(Recipe(cases={cases}), {str(target)!r}, workers=1)"
    child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    deadline = time.monotonic() + 60
    while not list(target.parent.glob(f".{target.name}*/rows/*.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    (left,) = target.parent.glob(f".{target.name}*")
    assert list(left.glob("rows/*.json")), "the child had begun"
    assert not target.exists()
    return left


def test_a_killed_generation_goes_on_where_it_was_and_gives_the_same_bytes(tmp_path: Path) -> None:
    left = killed_generation(tmp_path / "killed", 40)
    done = [row for part in left.glob("rows/*.json") for row in json.loads(part.read_text())["truth"]]
    made = {row["name"]: (left / "images" / row["name"]).stat().st_mtime_ns for row in done}
    generate(Recipe(cases=40), tmp_path / "killed", workers=1)
    again = {name: (tmp_path / "killed" / "images" / name).stat().st_mtime_ns for name in made}
    assert again == made
    assert [p.name for p in tmp_path.iterdir()] == ["killed"]
    whole = generate(Recipe(cases=40), tmp_path / "whole", workers=1)
    assert file_hashes(tmp_path / "killed") == file_hashes(whole)


def test_what_a_killed_generation_of_another_recipe_left_is_removed(tmp_path: Path) -> None:
    left = killed_generation(tmp_path / "killed", 300)
    generate(Recipe(cases=2), tmp_path / "killed", workers=1)
    assert not left.exists()


def test_two_processes_that_make_one_sample_at_once_both_get_it(tiny: Path, tmp_path: Path) -> None:
    code = f"from rgc.phantom import *; generate({TINY!r}, {str(tmp_path / 'both')!r}, workers=1)"
    children = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [child.wait() for child in children] == [0, 0]
    assert file_hashes(tmp_path / "both") == file_hashes(tiny)


def test_the_processes_of_a_killed_generation_end_with_it(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    call = f"generate(Recipe(cases=300), {str(tmp_path / 'killed')!r}, workers=2)"
    program.write_text(f"from rgc.phantom import *\nif __name__ == '__main__':\n    {call}\n")
    root = str(Path(__file__).resolve().parents[2])
    child = subprocess.Popen(
        [sys.executable, str(program)], start_new_session=True, env={**os.environ, "PYTHONPATH": root}
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".killed*/images/*.png")) and time.monotonic() < deadline:
        time.sleep(0.02)
    child.kill()  # the parent alone
    child.wait()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.killpg(child.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("a process outlived its parent")


def test_a_recipe_alone_in_another_version_is_not_taken_as_whole(tiny: Path, tmp_path: Path) -> None:
    body = json.loads((tiny / "recipe.json").read_text()) | {"generator": -1}
    (tmp_path / "recipe.json").write_text(json.dumps(body))
    with pytest.raises(ValueError, match="generator -1"):
        generate(TINY, tmp_path)


if __name__ == "__main__":
    print(content_hash(generate(TINY, f"/tmp/golden-{os.getpid()}", workers=1)))
