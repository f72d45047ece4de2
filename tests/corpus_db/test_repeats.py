from typing import Any

from corpus_db.curate import CuratedCase, CuratedPair
from corpus_db.gather import StoredImage
from corpus_db.measure import Likeness
from corpus_db.repeats import Images, by_age, cluster_names, drop_repeats, drop_same_names, duplicate_rows


def pair(key: str, sha256: str, group: str = "g", source: str = "s", name: str = "") -> CuratedPair:
    case = CuratedCase({"id": f"case of {key}"}, [], None)
    row: dict[str, Any] = {"id": key, "status": "kept", "drop_reason": None, "drop_detail": None}
    row["upstream_name"] = name or key
    return CuratedPair(row, source, case, StoredImage(sha256, "path", "ok"), None, [], [], [], caption_group=group)


IMAGES = Images(
    [
        Likeness("a", "b", "pixels", 0.0),
        Likeness("a", "c", "near", 0.02),
        Likeness("x", "y", "near", 0.1),
        Likeness("y", "z", "near", 0.1),
    ]
)


def dropped(pairs: list[CuratedPair]) -> dict[str, str | None]:
    drop_repeats(pairs, IMAGES)
    return {each.row["id"]: each.row["drop_detail"] for each in pairs if not each.kept}


def test_a_pair_that_repeats_image_and_caption_names_the_older_one() -> None:
    assert dropped([pair("1", "a"), pair("2", "a"), pair("3", "b")]) == {"2": "1", "3": "1"}


def test_another_caption_or_another_image_stays() -> None:
    assert dropped([pair("1", "a"), pair("2", "a", "other"), pair("3", "x")]) == {}


def test_an_image_that_only_a_third_ties_to_another_stays() -> None:
    # a chain of slight likenesses must not eat a series of slices
    assert dropped([pair("1", "x"), pair("2", "z")]) == {}
    assert dropped([pair("1", "x"), pair("2", "y"), pair("3", "z")]) == {"2": "1"}


def test_likeness_to_one_image_is_likeness_to_all_of_the_same_pixels() -> None:
    assert IMAGES.kinds("c") == {"a": "near", "b": "near"}
    assert IMAGES.kinds("b") == {"a": "pixels", "c": "near"}
    assert set(IMAGES.matches("b")) & set(IMAGES.matches("c")) == {"a+c"}


def test_pairs_of_earlier_versions_come_first() -> None:
    pairs = [pair("1", "a"), pair("2", "a"), pair("3", "a")]
    assert [each.row["id"] for each in by_age(pairs, {"3": 1})] == ["3", "1", "2"]
    assert [each.row["id"] for each in by_age(pairs, {"3": 1, "1": 2, "2": 2})] == ["3", "1", "2"]


def test_an_image_under_medpix_own_number_in_two_sources_is_one_and_the_crawls_stays() -> None:
    pairs = [
        pair("medpix2:a", "1", "g1", "medpix2", "synpic5"),
        pair("medpix:9", "2", "g2", "medpix", "synpic5"),
        pair("medpix:8", "3", "g3", "medpix", "synpic6"),
        pair("sample:1", "4", "g4", "sample", "synpic6"),  # phantoms have numbers of that form, too
        pair("roco:1", "5", "g5", "roco", "fig1"),
        pair("medicat:1", "6", "g6", "medicat", "fig1"),
    ]
    ordered = by_age(pairs, {})
    drop_same_names(ordered)
    assert {each.row["id"]: each.row["drop_detail"] for each in pairs if not each.kept} == {"medpix2:a": "medpix:9"}
    assert pairs[1].other_cases == ["case of medpix2:a"]
    ordered = by_age(
        [pair("medpix2:a", "1", "g1", "medpix2", "synpic5"), pair("medpix:9", "2", "g2", "m", "synpic5")],
        {"medpix2:a": 1},
    )
    drop_same_names(ordered)
    assert [each.row["id"] for each in ordered if each.kept] == ["medpix2:a"]  # it was there first


def test_a_cluster_holds_all_that_likeness_ties_and_is_named_for_its_oldest() -> None:
    pairs = [pair("1", "c"), pair("2", "a"), pair("3", "b"), pair("4", "x"), pair("5", "lone"), pair("6", "lone")]
    assert cluster_names(pairs, IMAGES) == {"1": "c", "2": "c", "3": "c", "4": "x", "5": "lone", "6": "lone"}


def test_each_member_of_a_cluster_says_how_it_is_like_an_older_one() -> None:
    pairs = [
        pair("1", "a", "g1"),
        pair("2", "b", "g2"),
        pair("3", "c", "g2"),
        pair("4", "a", "g4"),
        pair("5", "x", "g5"),
    ]
    rows = list(duplicate_rows(pairs, IMAGES, cluster_names(pairs, IMAGES)))
    told = [(row["cluster"], row["pair_id"], row["kind"], row["like_pair_id"]) for row in rows]
    assert told == [
        ("a", "1", "first", None),
        ("a", "2", "pixels", "1"),
        ("a", "3", "near", "1"),
        ("a", "4", "bytes", "1"),
        ("g2", "2", "first", None),
        ("g2", "3", "caption", "2"),
    ]


def test_a_thousand_pairs_of_one_image_and_caption_cost_no_square() -> None:
    pairs = [pair(f"{number:05}", "a") for number in range(20_000)]
    drop_repeats(pairs, IMAGES)
    assert sum(each.kept for each in pairs) == 1
    assert len(list(duplicate_rows(pairs, IMAGES, cluster_names(pairs, IMAGES)))) == 20_000
