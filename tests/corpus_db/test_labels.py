from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus_db.labels import Labels, label


def labelled(modality: str | None = None, plane: str | None = None, caption: str | None = "", **more: Any) -> Labels:
    return label(modality_raw=modality, plane_raw=plane, caption=caption, **more)


def disputes(found: Labels) -> set[tuple[str, str, str, str, str]]:
    return {(c.field, c.value, c.voter, c.other_value, c.other_voter) for c in found.conflicts}


def test_a_caption_that_names_another_modality_is_a_conflict_and_the_source_is_believed() -> None:
    found = labelled("CT - noncontrast", "Axial", "Axial MRI of the brain.")
    assert (found.modality, found.plane, found.region, found.drop_reason) == ("CT", "axial", "brain", None)
    assert disputes(found) == {("modality", "CT", "upstream", "MR", "text")}
    (conflict,) = found.conflicts
    assert (conflict.evidence, "MRI" in conflict.other_evidence) == ("CT - noncontrast", True)


def test_a_caption_that_names_another_plane_or_sequence_is_a_conflict() -> None:
    found = labelled("MR - T2 weighted", "Axial", "Sagittal FLAIR image of the brain")
    assert disputes(found) == {
        ("plane", "axial", "upstream", "sagittal", "text"),
        ("sequence", "T2", "upstream", "FLAIR", "text"),
    }


@pytest.mark.parametrize(
    ("modality", "plane", "caption"),
    [
        ("CTA - CT Angiography", "Axial", "Angiogram of the aorta"),
        ("BE - Barium Enema", "AP", "Radiograph of the colon"),
        ("Mammograph", "Mammo - CC", "Mammography of the right breast"),
        ("CT - noncontrast", "Transverse", "Axial CT of the abdomen"),
        ("XR - Plain Film", "Frontal", "PA radiograph of the chest"),
        ("Montage of Images", "Multiple or Montage", "Axial CT of the chest"),
        ("CT - GI & IV Contrast", "Axial", "CT with IV contrast"),
    ],
)
def test_names_for_the_same_study_are_no_conflict(modality: str, plane: str, caption: str) -> None:
    assert not labelled(modality, plane, caption).conflicts


def test_where_the_source_leaves_the_modality_open_the_caption_completes_it() -> None:
    assert labelled("Montage of Images", None, "Axial CT of the chest").modality == "CT"
    assert labelled("Montage of Images", None, "A mass").modality == "OT"


@pytest.mark.parametrize("modality", [None, "Not Assigned", "Something new"])
def test_a_caption_that_names_its_study_rescues_an_image_without_modality(modality: str | None) -> None:
    found = labelled(modality, None, "Axial CT of the chest")
    assert (found.modality, found.drop_reason) == ("CT", None)


def test_pixels_and_vague_words_rescue_nothing() -> None:
    assert labelled("Something new", None, "A mass", pixels={"fan": 40.0}).drop_reason == "unknown_modality"
    assert labelled(None, None, "Hypodense mass").drop_reason == "modality_not_assigned"


def test_what_the_source_calls_no_radiology_stays_dropped_and_the_caption_disputes_it() -> None:
    found = labelled("Drawing", "Axial", "CT of the chest")
    assert (found.modality, found.drop_reason) == (None, "not_radiology")
    assert disputes(found) == {("modality", "not_radiology", "upstream", "CT", "text")}


def test_a_caption_of_a_photograph_disputes_a_radiology_string() -> None:
    found = labelled("CT", None, "Photomicrograph, hematoxylin and eosin")
    assert found.modality == "CT"
    assert ("modality", "CT", "upstream") in {dispute[:3] for dispute in disputes(found)}


def test_a_plane_that_says_photograph_beside_a_radiology_modality_is_a_slip_and_disputes_it() -> None:
    found = labelled("MR", "Gross Pathology", "A mass")
    assert (found.modality, found.drop_reason) == ("MR", None)
    assert disputes(found) == {("modality", "MR", "upstream", "not_radiology", "upstream")}


def test_a_plane_that_says_photograph_is_believed_where_the_caption_says_so_too() -> None:
    found = labelled("MR", "Gross Pathology", "Gross specimen of the kidney")
    assert (found.modality, found.drop_reason) == (None, "not_radiology")


def test_an_unassigned_photograph_is_dropped_as_such() -> None:
    assert labelled(None, None, "Gross specimen of the kidney").drop_reason == "not_radiology"


def test_a_dicom_tag_is_believed_before_the_source_and_tells_the_rest() -> None:
    tags = {"Modality": "CR", "BodyPartExamined": "CHEST", "ViewPosition": "PA", "ImageLaterality": "L"}
    found = labelled("CT", "Axial", "", dicom=tags)
    assert (found.modality, found.plane, found.region, found.laterality) == ("DX", "pa", "chest", "left")
    assert ("modality", "DX", "dicom", "CT", "upstream") in disputes(found)
    assert labelled("CT", "Axial", "", dicom={"Modality": "XC"}).drop_reason == "not_radiology"


def test_a_dicom_file_made_by_pydicom_labels_its_image() -> None:
    pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed")
    data = pydicom.Dataset()
    data.Modality, data.BodyPartExamined, data.SeriesDescription = "MR", "BRAIN", "Sagittal T2-weighted image"
    found = labelled(None, None, "", dicom={item.keyword: str(item.value) for item in data})
    assert (found.modality, found.plane, found.region, found.drop_reason) == ("MR", "sagittal", "brain", None)


def test_the_caption_tells_the_region_before_the_topic_and_a_neighbour_is_no_conflict() -> None:
    found = labelled("CT", "Axial", "CT of the pelvis", location="Chest, Pulmonary", acr_code="6.3")
    assert found.region == "pelvis"
    assert {dispute[1:] for dispute in disputes(found)} == {("pelvis", "text", "chest", "upstream")}
    assert not labelled("CT", "Axial", "CT of the pelvis", location="Gastrointestinal").conflicts
    assert not labelled("CT", "Axial", "CT of the pelvis", dicom={"BodyPartExamined": "HIP"}).conflicts
    assert labelled("CT", "Axial", "CT of the pelvis", dicom={"BodyPartExamined": "SKULL"}).conflicts
    assert labelled("CT", "Axial", "A mass", location="Chest, Pulmonary").region == "chest"


def test_a_title_tells_the_region_only_where_nothing_else_does() -> None:
    texts = {"title": "Glioma of the brain"}
    assert labelled("CT", None, "A mass", case_texts=texts).region == "brain"
    assert labelled("CT", None, "A mass", case_texts=texts, location="Spine").region == "spine"
    assert labelled("CT", None, "CT of the chest", case_texts=texts).region == "chest"


def test_an_acr_code_that_nobody_chose_tells_no_region() -> None:
    assert labelled("CT", None, "A mass", acr_code="0.0").region is None
    assert labelled("CT", None, "A mass", acr_code="-1.-1").region is None


def test_one_described_side_of_a_two_sided_image_is_no_conflict() -> None:
    found = labelled("MG", None, "Mass in the left breast", dicom={"ImageLaterality": "B"})
    assert (found.laterality, found.conflicts) == ("bilateral", ())
    assert labelled("Mammograph", None, "Mass in the left breast", dicom={"ImageLaterality": "R"}).conflicts


_TEXT = st.one_of(st.none(), st.text(st.characters()), st.text(st.characters(codec=None, categories=["Cs", "Cc", "L"])))


@given(_TEXT, _TEXT, _TEXT, _TEXT, st.dictionaries(st.text(), st.text()))
def test_no_string_makes_it_raise(
    modality: str | None, plane: str | None, caption: str | None, other: str | None, tags: dict[str, str]
) -> None:
    found = labelled(modality, plane, caption, case_texts={"title": other}, acr_code=other, location=other, dicom=tags)
    assert (found.modality is None) == (found.drop_reason is not None)
