from collections import Counter

from corpus_db.split import PERCENT, split_of


def test_splits_come_near_their_shares() -> None:
    counts = Counter(split_of(f"medpix:{number}") for number in range(20_000))
    assert all(abs(counts[name] / 200 - share) < 1 for name, share in PERCENT.items())


def test_a_case_never_moves() -> None:
    # pinned: another answer would move every published version's cases
    found = [split_of(f"medpix:{key}") for key in "abcdefgh"]
    assert found == ["train", "train", "train", "test", "train", "val", "train", "test"]
