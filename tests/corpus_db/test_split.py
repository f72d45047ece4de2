from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus_db.split import NOTHING_KNOWN, PERCENT, Known, Member, assign, deviation, known_from, split_of

CAPTION = "A mass of the left frontal lobe."


def member(number: int, **changes: object) -> Member:
    """A pair that nothing ties to another."""
    own = f"A caption of its own, number {number}."
    base = Member(f"s:{number:04}", f"s:case{number:04}", None, f"sha{number}", own, f"group{number}")
    return replace(base, **changes)  # type: ignore[arg-type]


def case_in(split: str, start: int = 0) -> int:
    """The first number whose case falls to a split."""
    return next(number for number in range(start, start + 500) if split_of(f"s:case{number:04}") == split)


def frozen(members: list[Member], known: Known = NOTHING_KNOWN) -> Known:
    """What a version made of these members tells the next build."""
    places = assign(members, known)
    rows = [
        {
            "pair_id": each.pair_id,
            "case_id": each.case_id,
            "patient_key": each.patient_key,
            "sha256": each.sha256,
            "split": places[each.pair_id].split,
            "split_group": places[each.pair_id].group,
        }
        for each in members
        if not places[each.pair_id].conflict
    ]
    return known_from(rows)


def test_shares_are_near_eighty_ten_ten_and_all_there() -> None:
    shares = Counter(split_of(f"medpix:{number}") for number in range(20_000))
    assert all(abs(shares[name] / 200 - share) < 1 for name, share in PERCENT.items())


def test_a_key_always_falls_to_the_same_split() -> None:
    # pinned: another answer would move every published version's cases
    found = [split_of(f"medpix:{key}") for key in "abcdefgh"]
    assert found == ["train", "train", "train", "test", "train", "val", "train", "test"]


TIES = {
    "case": {"case_id": "s:one"},
    "patient": {"patient_key": "s:p1"},
    "bytes": {"sha256": "same"},
    "near-duplicate": {"alike": ("a+b",)},
    "telling caption": {"caption": CAPTION, "caption_group": "same"},
}


@pytest.mark.parametrize("tie", TIES.values(), ids=TIES)
def test_two_pairs_that_share_a_tie_share_a_split(tie: dict[str, object]) -> None:
    for first in range(0, 400, 2):
        places = assign([member(first, **tie), member(first + 1, **tie)])
        assert len({place.split for place in places.values()}) == 1
        assert len({place.group for place in places.values()}) == 1


def test_a_short_caption_and_one_of_many_cases_tie_nothing() -> None:
    short = [member(number, caption="Axial CT.", caption_group="axial") for number in range(300)]
    common = [member(number, caption=CAPTION, caption_group="same") for number in range(300, 306)]
    assert len({place.split for place in assign(short).values()}) == 3
    assert len({place.group for place in assign(common).values()}) == 6
    assert len({place.group for place in assign(common[:5]).values()}) == 1


def test_ties_reach_over_several_pairs() -> None:
    chain = [member(1, alike=("a+b",)), member(2, alike=("a+b", "b+c")), member(3, alike=("b+c",), patient_key="p")]
    places = assign([*chain, member(4, patient_key="p")])
    assert {place.group for place in places.values()} == {"s:case0001"}


def test_an_old_pair_keeps_its_split_whatever_comes() -> None:
    train, test = case_in("train"), case_in("test")
    old = member(max(train, test), alike=("x+y",))
    newcomer = member(min(train, test), alike=("x+y",))  # an older key, whose hash would decide otherwise
    before = assign([old])
    after = assign([newcomer, old], frozen([old]))
    assert after[old.pair_id] == before[old.pair_id]
    assert after[newcomer.pair_id].split == before[old.pair_id].split


def test_a_newcomer_that_bridges_train_and_test_is_left_out_and_told() -> None:
    train, test = member(case_in("train"), alike=("t+n",)), member(case_in("test"), alike=("n+u",))
    bridge = member(9000, alike=("t+n", "n+u"))
    places = assign([train, test, bridge], frozen([train, test]))
    assert (places[train.pair_id].split, places[test.pair_id].split) == ("train", "test")
    told = places[bridge.pair_id].conflict or ""
    assert train.case_id in told and test.case_id in told


def test_a_bridge_left_out_does_not_drag_its_case_along() -> None:
    train, test = member(case_in("train"), alike=("t+n",)), member(case_in("test"), alike=("n+u",))
    bridge, sibling = member(9000, alike=("t+n", "n+u"), case_id="s:new"), member(9001, case_id="s:new")
    places = assign([train, test, bridge, sibling], frozen([train, test]))
    assert places[bridge.pair_id].conflict and not places[sibling.pair_id].conflict


def test_two_old_pairs_found_to_be_one_image_lose_the_one_in_train() -> None:
    train, test = member(case_in("train")), member(case_in("test"))
    known = frozen([train, test])
    places = assign([replace(train, alike=("a+b",)), replace(test, alike=("a+b",))], known)
    assert places[train.pair_id].conflict and places[test.pair_id].split == "test"


def test_a_case_whose_pairs_are_all_gone_still_knows_its_split() -> None:
    test = case_in("test")
    moved = member(test, case_id=f"s:case{case_in('train'):04}", sha256="bytes of the old one")
    known = known_from(
        [
            {
                "pair_id": "s:gone",
                "case_id": "s:other",
                "patient_key": None,
                "sha256": "bytes of the old one",
                "split": "test",
                "split_group": "s:other",
            }
        ]
    )
    assert assign([moved], known)[moved.pair_id].split == "test"


def ties(draw: st.DrawFn, number: int) -> Member:
    few = st.integers(0, 12)
    return member(
        number,
        case_id=f"s:case{draw(few):04}",
        sha256=f"sha{draw(st.integers(0, 30))}",
        alike=tuple(f"near{draw(few)}" for _ in range(draw(st.integers(0, 2)))),
    )


@st.composite
def corpora(draw: st.DrawFn) -> list[Member]:
    return [ties(draw, number) for number in range(draw(st.integers(2, 25)))]


@settings(max_examples=200, deadline=None)
@given(corpora(), st.data())
def test_whatever_the_order_of_crawls_nothing_leaks_and_nothing_moves(
    corpus: list[Member], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(1, len(corpus)))
    shuffled = data.draw(st.permutations(corpus))
    first = assign(shuffled[:cut])
    second = assign(shuffled, frozen(shuffled[:cut]))
    placed = [each for each in shuffled if not second[each.pair_id].conflict]
    for each in shuffled[:cut]:
        assert second[each.pair_id] == first[each.pair_id] or second[each.pair_id].split == first[each.pair_id].split
        assert not second[each.pair_id].conflict
    for one in placed:
        for other in placed:
            tied = one.case_id == other.case_id or one.sha256 == other.sha256 or set(one.alike) & set(other.alike)
            assert not tied or second[one.pair_id].split == second[other.pair_id].split
    assert assign(sorted(shuffled, key=lambda each: each.sha256), frozen(shuffled[:cut])) == second


def test_deviation_is_in_points_of_each_modality() -> None:
    found = deviation([("CT", "train")] * 9 + [("CT", "test")] + [("MR", "val")])
    assert found["MR"] == {"train": -80.0, "val": 90.0, "test": -10.0}
    assert found["CT"] == {"train": 10.0, "val": -10.0, "test": 0.0}


def test_a_sources_own_split_is_kept_and_what_would_join_two_is_left_out() -> None:
    own = member(case_in("train"), own="test")
    other_patient = member(case_in("train") + 1, own="train", patient_key="p")
    same_patient = member(case_in("train") + 2, own="val", patient_key="p")
    free = member(case_in("train") + 3, case_id=own.case_id)
    places = assign([own, other_patient, same_patient, free])
    assert [places[each.pair_id].split for each in (own, other_patient, free)] == ["test", "train", "test"]
    assert "would join" in (places[same_patient.pair_id].conflict or "")
    again = assign([replace(own, own="train")], frozen([own]))
    assert again[own.pair_id].split == "test"  # a split, once given, never moves


def test_what_another_source_calls_the_same_case_shares_its_split() -> None:
    number = case_in("test")
    tied = member(case_in("train"), other_cases=(f"s:case{number:04}",))
    places = assign([member(number), tied])
    assert len({place.split for place in places.values()}) == 1
