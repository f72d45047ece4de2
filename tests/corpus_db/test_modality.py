from collections import Counter

import pytest

from corpus_db import modality
from corpus_db.modality import read_modality, read_plane

# MedPix's pick lists: facts, one a line
MODALITIES = """AN - Angiogram|AN - Angiogram (Catheter)|Arthrogram|BAS - Barium Swallow|BE - Barium Enema
CP - Clinical photograph|CT - GI & IV Contrast|CT - GI Contrast|CT - Montage|CT - Myelogram|CT - noncontrast
CT w/contrast (IV)|CTA - CT Angiography|Dermatology|Drawing|ECG EKG|EM - Electron Microscopic|EP - Endoscopy|Fundoscopy
GR - Gross photograph|HE - High Power (>200X)|HE - Low Power (<50x)|HE - Med Power (~50-200x)
HSG - Hysterosalpingogram|Histology (NOS)|Histology - Special Stain (specify in caption)
IVP/IVU - Intravenous Urogram/Pyelogram|Interventional Procedure|Interventional Procedure (specify in caption)|LOGO
MR - ADC Map (App Diff Coeff)|MR - DWI Diffusion Weighted|MR - FIESTA|MR - FLAIR|MR - FLAIR w/Gd|MR - Montage
MR - Other Pulse Seq.|MR - PDW Proton Density|MR - STIR|MR - T1W - noncontrast|MR - T1W SPGR|MR - T1W w/Gadolinium
MR - T1W w/Gd (fat suppressed)|MR - T2 FLAIR w/Contrast|MR - T2 weighted|MR T2* gradient GRE
MR T2* gradient,GRE,MPGR,SWAN,SWI|MRA - MR Angiography/Venography|MRS - Spectroscopy|Mammograph|Montage of Images
Myelogram|NM - Nuclear Medicine|Not Assigned|OPHTH - Fundoscopy|OPHTH - Slit-Lamp|OR - Operative photograph
PET - Positron Emission|PET-CT Fusion|Photograph|Photographs|RU - Retrograde Urogram|SBFT - Small Bowel|SPECT
SPECT - Single Photon|Special Stain (specify in caption)|Tomography|UGI - Upper GI|US - Ultrasound
US-D - Doppler Ultrasound|VCUG - Voiding Cystourethrogram|Venogram|Virtual Colonoscopy|XR - Plain Film"""
PLANES = """3D Reconstruction|AP|Axial|Coronal|Decubitus|Dermatology|Drawing|Frontal|Gross Pathology|Histology
Image Plane|Lateral|Longitudinal|Mammo - CC|Mammo - MLO|Mammo - Mag CC|Mammo - XCC|Multiple or Montage|Oblique
Other View (see caption)|PA|Photograph|Sagittal|Transverse"""
# as they stand in MedPix-2.0's records, beyond the pick lists
SEEN_MODALITIES, SEEN_PLANES = ["CT", "MR", "MRI", "MR - Montage of Images"], ["NOS - Not specified"]
KNOWN_MODALITIES = MODALITIES.replace("\n", "|").split("|") + SEEN_MODALITIES
KNOWN_PLANES = PLANES.replace("\n", "|").split("|") + SEEN_PLANES


def test_every_known_modality_has_a_code_or_a_reason() -> None:
    assert len(set(KNOWN_MODALITIES)) == 74 + len(SEEN_MODALITIES)
    read = [read_modality(raw) for raw in KNOWN_MODALITIES]
    assert all(found.known and (found.code is None) == (found.drop_reason is not None) for found in read)
    assert Counter(found.drop_reason for found in read) == {None: 57, "not_radiology": 20, "modality_not_assigned": 1}
    codes = Counter(found.code for found in read if found.code)
    assert codes == {"MR": 22, "CT": 9, "RF": 10, "XA": 3, "OT": 4, "NM": 3, "PT": 2, "US": 2, "MG": 1, "DX": 1}


def test_every_known_plane_has_a_place() -> None:
    assert len(set(KNOWN_PLANES)) == 24 + len(SEEN_PLANES)
    read = {raw: read_plane(raw) for raw in KNOWN_PLANES}
    assert all(found.known for found in read.values())
    dropped = {raw for raw, found in read.items() if found.drop_reason}
    assert dropped == {"Gross Pathology", "Histology", "Photograph", "Drawing", "Dermatology"}
    assert {raw for raw, found in read.items() if found.plane is None} - dropped == {
        "Image Plane",
        "NOS - Not specified",
    }


def test_the_map_holds_nothing_beyond_the_pick_lists_and_what_was_seen() -> None:
    elsewhere = {raw.casefold() for raw in modality._ELSEWHERE}
    assert set(modality._MODALITY) - elsewhere - {" ".join(raw.split()).casefold() for raw in KNOWN_MODALITIES} == {""}
    planes = {raw.casefold() for raw in modality._PLANES_ELSEWHERE}
    assert set(modality._PLANE) - planes - {raw.casefold() for raw in KNOWN_PLANES} == {""}


def test_words_of_other_corpora_and_dicom_codes_are_known() -> None:
    assert {read_modality(raw).code for raw in ("X-ray", "x-ray", "CR", "Radiograph")} == {"DX"}
    assert read_modality("Radiology").code == "OT"  # open: a caption that names one decides
    assert [read_plane(raw).plane for raw in ("AP Supine", "LL", "l")] == ["ap", "lateral", "lateral"]


@pytest.mark.parametrize(
    ("raw", "code", "details"),
    [
        ("MR - T2 FLAIR w/Contrast", "MR", {"sequence": "FLAIR", "contrast": "iv"}),
        ("MR - T1W - noncontrast", "MR", {"sequence": "T1", "contrast": "none"}),
        ("CT - Montage", "CT", {"montage": "yes"}),
        ("SPECT", "NM", {"technique": "SPECT"}),
        ("XR - Plain Film", "DX", {}),
        ("Montage of Images", "OT", {"montage": "yes"}),
    ],
)
def test_a_string_gives_its_code_and_details(raw: str, code: str, details: dict[str, str]) -> None:
    found = read_modality(raw)
    assert (found.code, dict(found.details)) == (code, details)


def test_case_and_spaces_do_not_matter_and_nothing_else_is_guessed() -> None:
    assert read_modality("  ct -  NONCONTRAST\n").code == "CT"
    assert read_plane(" transverse ").plane == "axial"
    for raw in ("CT -", "CT - noncontrast!", "MRX", "X"):
        found = read_modality(raw)
        assert (found.code, found.drop_reason, found.known) == (None, "unknown_modality", False)
    assert read_plane("Sideways") == modality.Plane(None, known=False)


@pytest.mark.parametrize("raw", [None, "", "  ", "Not Assigned"])
def test_a_missing_modality_is_not_assigned(raw: str | None) -> None:
    assert read_modality(raw).drop_reason == "modality_not_assigned"
    assert read_modality(raw).known


def test_a_missing_plane_drops_nothing() -> None:
    assert read_plane(None) == modality.Plane(None)
