import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from corpus_db.read import UserError
from vlt import checkpoint

ROOT = Path(__file__).resolve().parent.parent.parent


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_was_saved_is_loaded(tmp_path):
    state = {"weights": torch.arange(3.0), "steps": [1, 2], "none": None}
    checkpoint.save(tmp_path, 5, state)
    step, found = checkpoint.newest(tmp_path)
    assert step == 5 and torch.equal(found.pop("weights"), state.pop("weights")) and found == state


def test_the_newest_two_are_kept_and_what_kills_left_is_removed(tmp_path):
    for step in (1, 2):
        checkpoint.save(tmp_path, step, {"step": step})
    (tmp_path / "step-00000003.pt").write_bytes(b"killed before its marker")
    (tmp_path / ".step-00000003.pt.99").write_bytes(b"killed while it was written")
    checkpoint.save(tmp_path, 4, {"step": 4})
    assert names(tmp_path) == [f"step-0000000{step}.{end}" for step in (2, 4) for end in ("json", "pt")]


def test_a_damaged_later_one_does_not_push_out_a_good_one(tmp_path):
    for step in (1, 2, 9):
        checkpoint.save(tmp_path, step, {"step": step})
    (tmp_path / "step-00000009.pt").write_bytes(b"damaged")
    checkpoint.save(tmp_path, 3, {"step": 3})
    assert names(tmp_path) == [f"step-0000000{step}.{end}" for step in (2, 3) for end in ("json", "pt")]


@pytest.mark.parametrize("damage", ["cut", "marker", "no marker", "gone"])
def test_a_damaged_one_is_passed_over_for_the_one_before(tmp_path, damage):
    for step in (1, 2):
        checkpoint.save(tmp_path, step, {"step": step})
    path, marker = tmp_path / "step-00000002.pt", tmp_path / "step-00000002.json"
    match damage:
        case "cut":
            path.write_bytes(path.read_bytes()[:-1])
        case "marker":
            marker.write_text("{")
        case "no marker":
            marker.unlink()
        case "gone":
            path.unlink()
    said = []
    assert checkpoint.newest(tmp_path, said.append)[0] == 1
    assert len(said) == 1 and "step-00000002.pt" in said[0] and "passed over" in said[0]


def test_code_in_a_checkpoint_does_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"x": Evil()}, tmp_path / "step-00000001.pt")
    told = {"sha256": checkpoint._sha256(tmp_path / "step-00000001.pt"), "step": 1}
    (tmp_path / "step-00000001.json").write_text(json.dumps(told))
    with pytest.raises(UserError, match="none of its checkpoints is whole"):
        checkpoint.newest(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_on_a_full_disk_the_last_good_one_survives(tmp_path):
    """A limit on the size of files fails a write half-way, as a full disk does; in a process of its own."""
    folder = tmp_path / "run" / "checkpoints"
    checkpoint.save(folder, 1, {"weights": torch.zeros(10)})
    code = (
        "import sys, pathlib, torch, resource\n"
        "from corpus_db.read import UserError\n"
        "from vlt import checkpoint\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, {resource.RLIM_INFINITY}))\n"
        "try: checkpoint.save(pathlib.Path(sys.argv[1]), 2, {'weights': torch.zeros(1_000_000)})\n"
        "except UserError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], cwd=ROOT, capture_output=True, text=True)
    assert "cannot be written" in done.stdout and "--resume run" in done.stdout, done
    assert done.stdout.count("\n") == 1 and done.returncode == 0
    assert names(folder) == ["step-00000001.json", "step-00000001.pt"]
    assert checkpoint.newest(folder)[0] == 1
