import pytest

from corpus_db import regions
from corpus_db.regions import acr_regions, body_part_region, location_regions, one_of, overlap


def test_every_region_that_is_named_anywhere_is_in_the_closed_list() -> None:
    named = {pair.removeprefix("region=").replace("~", " ") for says, _ in regions.WORDS for pair in says.split()}
    may_mean = {region for table in (regions._LOCATIONS, regions._ACR) for means in table.values() for region in means}
    assert named == set(regions.REGIONS)
    assert may_mean - {""} <= set(regions.REGIONS)
    assert set(regions._BODY_PARTS) == set(regions.REGIONS)
    assert frozenset().union(*regions.OVERLAPPING) <= set(regions.REGIONS)


def test_a_phrase_stands_in_one_region_only() -> None:
    listed = [" ".join(phrase.split()) for says, phrases in regions.WORDS if says for phrase in phrases.split(";")]
    assert sorted(listed) == sorted(set(listed))


def test_a_location_names_its_likeliest_region_first_and_an_open_one_none() -> None:
    assert location_regions("  brain AND Neuro ")[0] == "brain"
    assert location_regions("Genitourinary") == ("", "abdomen", "pelvis")
    assert location_regions("Generalized") == location_regions(None) == ()


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("1.3", "brain"),
        ("2.9", "head and neck"),
        ("3", "spine"),
        ("562.1", "heart"),
        (" 6.-1", "chest"),
        ("76.2", "abdomen"),
    ],
)
def test_an_acr_code_begins_with_its_anatomy(code: str, expected: str) -> None:
    assert acr_regions(code)[0] == expected


@pytest.mark.parametrize("code", ["-1.-1", "", None, "4.3", "9.1", "x"])
def test_an_acr_code_of_bones_vessels_or_nothing_names_no_region(code: str | None) -> None:
    assert acr_regions(code) == ()


@pytest.mark.parametrize(
    ("part", "expected"),
    [("CHEST", "chest"), ("c-spine", "spine"), ("Lower Extremity", "lower limb"), ("WHOLEBODY", None), (None, None)],
)
def test_a_dicom_body_part_is_read_however_it_is_spelt(part: str | None, expected: str | None) -> None:
    assert body_part_region(part) == expected


def test_regions_that_one_picture_shows_overlap_and_others_do_not() -> None:
    assert overlap(("abdomen", "pelvis")) and overlap(("chest", "heart")) and overlap(("spine", "spine"))
    assert not overlap(("brain", "chest"))
    assert not overlap(("abdomen", "pelvis", "lower limb"))


def test_one_region_is_read_where_three_in_four_structures_lie_in_it_and_a_part_counts_for_its_whole() -> None:
    assert one_of(["abdomen", "abdomen", "abdomen", "chest"]) == "abdomen"
    assert one_of(["abdomen", "chest"]) is None
    assert one_of(["heart", "chest"]) == "chest"
    assert one_of(["heart"]) == "heart"
    assert one_of([]) is None
