import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus_db.text_labels import text_votes


def read(caption: str) -> dict[str, str]:
    return {vote.field: vote.value for vote in text_votes(caption)}


def value(caption: str, field: str) -> str | None:
    return read(caption).get(field)


def test_a_caption_that_names_its_study_gives_all_its_labels() -> None:
    found = read("Axial T2-weighted MR image of the brain without contrast shows a mass in the left frontal lobe.")
    assert found == {
        "modality": "MR",
        "sequence": "T2",
        "contrast": "none",
        "plane": "axial",
        "region": "brain",
        "laterality": "left",
    }


@pytest.mark.parametrize(
    ("caption", "code"),
    [
        ("CT scan of the chest", "CT"),
        ("CT angiogram of the aorta", "CT"),
        ("MR angiogram of the neck", "MR"),
        ("MRA shows a stenosis", "MR"),
        ("Pulmonary angiogram, digital subtraction", "XA"),
        ("PET/CT shows uptake", "PT"),
        ("SPECT of the heart", "NM"),
        ("Bone scan: uptake in the ribs", "NM"),
        ("CXR shows an effusion", "DX"),
        ("AP radiograph of the knee", "DX"),
        ("Noncontrast CT shows a bleed", "CT"),
        ("Barium enema shows a stricture", "RF"),
        ("CT myelogram of the spine", "CT"),
        ("Transverse US image of the liver", "US"),
        ("Mammogram with a mass", "MG"),
        ("FLAIR hyperintensity", "MR"),
        ("Gross specimen of the tumor", "XC"),
        ("Histology, H&E stain", "SM"),
        ("MRI shows a nodule that is unchanged compared with prior CT.", "MR"),
        ("MR (1 day after CT KUB)", "MR"),
        ("Review of prior CT scan reveals air.", "CT"),
    ],
)
def test_the_study_that_the_caption_is_of_is_voted_for(caption: str, code: str) -> None:
    assert value(caption, "modality") == code


@pytest.mark.parametrize(
    "caption",
    [
        "CT was normal; MRI shows a lesion.",
        "CT-guided biopsy of the mass",
        "Unchanged in size compared with CT performed one year prior",
        "CT may be helpful for further evaluation.",
        "Recommend MRI.",
        "Correlates with the nuclear medicine findings",
        "Tell us what it is; the patient lives in the US.",
        "Fracture of the T2 vertebra",
        "Disc bulge at the T1 level",
        "Carcinoma, stage T2 N0",
        "A mass. Photographs were taken at surgery.",
        "",
    ],
)
def test_another_study_two_studies_or_none_give_no_vote_on_the_modality(caption: str) -> None:
    assert value(caption, "modality") is None


def test_the_language_of_a_modality_gives_a_weaker_vote_and_only_where_no_study_is_named() -> None:
    (vote,) = [vote for vote in text_votes("A hypodense lesion") if vote.field == "modality"]
    assert (vote.value, vote.confidence < 0.9) == ("CT", True)
    assert value("A hypodense lesion, unlike on prior MRI", "modality") is None
    assert value("MRI of a hypodense lesion", "modality") == "MR"
    assert value("Hypodense, and hyperintense", "modality") is None


@pytest.mark.parametrize(
    ("caption", "sequence"),
    [
        ("Coronal STIR", "STIR"),
        ("T2 FLAIR image", "FLAIR"),
        ("T1 post gadolinium", "T1"),
        ("Axial diffusion-weighted image", "DWI"),
        ("T1 and T2 weighted images", None),
        ("MRI shows a mass with low T1 signal", None),
        ("T1-weighted MRI: bright on T2", "T1"),
        ("CT with T2 involvement", None),
    ],
)
def test_a_sequence_is_the_images_own_and_not_how_a_lesion_looks(caption: str, sequence: str | None) -> None:
    assert value(caption, "sequence") == sequence


@pytest.mark.parametrize(
    ("caption", "contrast"),
    [
        ("Contrast-enhanced CT", "iv"),
        ("CT with oral contrast", "gi"),
        ("CT with IV contrast and oral contrast", "gi+iv"),
        ("Non-contrast CT", "none"),
        ("Precontrast and postcontrast T1", None),
        ("Pre-gadolinium T1 image", "none"),
        ("A mass was found in this patient long before anyone came to think of IV contrast", None),
    ],
)
def test_contrast_is_that_of_the_study(caption: str, contrast: str | None) -> None:
    assert value(caption, "contrast") == contrast


@pytest.mark.parametrize(
    ("caption", "plane"),
    [
        ("Axial CT", "axial"),
        ("Transverse image of the liver", "axial"),
        ("Dilated transverse colon", None),
        ("Extra-axial mass", None),
        ("The coronal suture is fused", None),
        ("Thrombus in the superior sagittal sinus", None),
        ("Axial and coronal CT", None),
        ("Coronal reconstruction of the axial CT images", "coronal"),
        ("As described on the axial images", None),
        ("On axial images, a mass", "axial"),
        ("Lateral radiograph of the knee", "lateral"),
        ("Lateral chest x-ray", "lateral"),
        ("Fracture of the lateral malleolus", None),
        ("PA and lateral views", None),
        ("PA view of the chest", "pa"),
        ("Filling defect in the right PA", None),
        ("Measures 16 mm AP x 13 mm", None),
        ("Measures 9 x 8 x 13 cm in the oblique coronal, AP and craniocaudal dimensions", None),
        ("Mass of the lateral chest wall", None),
        ("Anteroposterior radiograph of the hip and axial CT of the hip", None),
        ("Frontal lobe mass", None),
        ("Frontal view of the chest", "frontal"),
    ],
)
def test_a_plane_is_the_images_and_not_a_structures_or_a_measures(caption: str, plane: str | None) -> None:
    assert value(caption, "plane") == plane


@pytest.mark.parametrize(
    ("caption", "side"),
    [
        ("LUL mass", "left"),
        ("Mass in the right kidney", "right"),
        ("R occipital fracture", "right"),
        ("L. MCA infarct", "left"),
        ("Left and right effusions", "bilateral"),
        ("Bilateral hilar nodes", "bilateral"),
        ("Cysts in both kidneys", "bilateral"),
        ("Both axial images", None),
        ("The left ventricle is enlarged", None),
        ("Right atrial thrombus", None),
        ("The septum is deviated toward the left.", None),
        ("Mass that abuts to the left kidney", "left"),
        ("L4 fracture", None),
        ("L - Liver", None),
        ("The stent was left in place", None),
        ("Right lung larger than the left.", "right"),
    ],
)
def test_a_side_is_that_of_the_described_structures(caption: str, side: str | None) -> None:
    assert value(caption, "laterality") == side


@pytest.mark.parametrize(
    ("caption", "region"),
    [
        ("CT of the upper abdomen with a lung base nodule", "abdomen"),
        ("Chest CT: cyst of the liver", "chest"),
        ("Mass in the head of the pancreas", "abdomen"),
        ("The left ventricle is enlarged", "heart"),
        ("Enlarged lateral ventricles", "brain"),
        ("Torn anterior cruciate ligament", "lower limb"),
        ("Liver metastasis and a lung nodule", None),
        ("A mass", None),
        ("Fetal heart rate", None),
    ],
)
def test_a_region_is_that_of_the_study_or_of_the_structures(caption: str, region: str | None) -> None:
    assert value(caption, "region") == region


def test_the_evidence_is_the_captions_own_words() -> None:
    (vote,) = [vote for vote in text_votes("Selected\nComputed   Tomography image") if vote.field == "modality"]
    assert (vote.voter, vote.evidence) == ("text", "Computed Tomography")


@given(st.text(st.characters()) | st.text("CTMRUS T12axil leftbohkdny.,:()/\n"))
def test_any_string_gives_one_vote_a_field_at_most(caption: str) -> None:
    fields = [vote.field for vote in text_votes(caption)]
    assert len(fields) == len(set(fields))


@pytest.mark.parametrize("unit", ["chest CT ", "with contrast CT ", "T1 and T2 ", "(", "R. ", "axial of ", "a"])
def test_a_caption_of_half_a_million_characters_ends(unit: str) -> None:  # its square would take hours
    text_votes(unit * (500_000 // len(unit)))


def test_a_vote_does_not_depend_on_case_or_line_breaks() -> None:
    assert read("AXIAL CT OF THE CHEST") == read("Axial CT\nof the chest") == read("axial ct of the chest")
