from collections import Counter

from corpus_db.build import BuildResult
from corpus_db.build_output import render_build


def told(**values) -> list[str]:
    fields = {"name": "v1", "manifest_sha256": "0" * 64, "by_status": Counter(kept=1)} | values
    made = BuildResult.__new__(BuildResult)
    for name, field in BuildResult.__dataclass_fields__.items():
        made_by = field.default_factory
        setattr(made, name, fields.get(name, made_by() if callable(made_by) else field.default))
    return list(render_build(made))


def test_the_shares_of_a_few_pairs_are_not_told():
    points = {"train": 20.0, "val": -10.0, "test": -10.0}
    lines = told(by_modality=Counter(CT=19, MR=20), deviation={"CT": points, "MR": points})
    assert "modality    CT 19" in lines
    assert "modality    MR 20 (off its shares by train +20, val -10, test -10 points)" in lines


def test_a_split_without_a_pair_is_told():
    assert any(line.startswith("splits      no val or test pairs: ") for line in told(by_split=Counter(train=3)))
    assert not any(line.startswith("splits") for line in told(by_split=Counter(train=3, val=1, test=1)))
