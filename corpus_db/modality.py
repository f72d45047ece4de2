"""Read a source's own words for modality and plane: every known string is mapped, a new one never guessed."""

from dataclasses import dataclass

NOT_RADIOLOGY = "not_radiology"
NOT_ASSIGNED = "modality_not_assigned"
UNKNOWN = "unknown_modality"


@dataclass(frozen=True)
class Modality:
    """What a modality string says: a DICOM code, or why the image is dropped, and finer labels."""

    code: str | None
    drop_reason: str | None = None
    details: tuple[tuple[str, str], ...] = ()  # (field, value): sequence, contrast, technique, montage
    known: bool = True


@dataclass(frozen=True)
class Plane:
    """What a plane string says."""

    plane: str | None
    drop_reason: str | None = None
    known: bool = True


# string -> "CODE field=value ...". CR and DX are one here (DX): the strings do not tell a cassette from a detector.
# Contrast radiography (barium, urograms, arthrograms, myelograms) is RF, filmed or screened; catheter work is XA.
# OT where the words leave the modality open: a mixed montage, a procedure, "Tomography" (linear or computed).
_RADIOLOGY = {
    "AN - Angiogram": "XA technique=angiography",
    "AN - Angiogram (Catheter)": "XA technique=angiography",
    "Arthrogram": "RF contrast=intraarticular technique=arthrography",
    "BAS - Barium Swallow": "RF contrast=oral",
    "BE - Barium Enema": "RF contrast=rectal",
    "CT": "CT",
    "CT - GI & IV Contrast": "CT contrast=gi+iv",
    "CT - GI Contrast": "CT contrast=gi",
    "CT - Montage": "CT montage=yes",
    "CT - Myelogram": "CT contrast=intrathecal technique=myelography",
    "CT - noncontrast": "CT contrast=none",
    "CT w/contrast (IV)": "CT contrast=iv",
    "CTA - CT Angiography": "CT contrast=iv technique=angiography",
    "HSG - Hysterosalpingogram": "RF contrast=intrauterine",
    "IVP/IVU - Intravenous Urogram/Pyelogram": "RF contrast=iv technique=urography",
    "Interventional Procedure": "OT technique=intervention",
    "Interventional Procedure (specify in caption)": "OT technique=intervention",
    "MR": "MR",
    "MR - ADC Map (App Diff Coeff)": "MR sequence=ADC",
    "MR - DWI Diffusion Weighted": "MR sequence=DWI",
    "MR - FIESTA": "MR sequence=FIESTA",
    "MR - FLAIR": "MR sequence=FLAIR",
    "MR - FLAIR w/Gd": "MR sequence=FLAIR contrast=iv",
    "MR - Montage": "MR montage=yes",
    "MR - Montage of Images": "MR montage=yes",
    "MR - Other Pulse Seq.": "MR sequence=other",
    "MR - PDW Proton Density": "MR sequence=PD",
    "MR - STIR": "MR sequence=STIR",
    "MR - T1W - noncontrast": "MR sequence=T1 contrast=none",
    "MR - T1W SPGR": "MR sequence=T1 technique=SPGR",
    "MR - T1W w/Gadolinium": "MR sequence=T1 contrast=iv",
    "MR - T1W w/Gd (fat suppressed)": "MR sequence=T1 contrast=iv technique=fat_suppressed",
    "MR - T2 FLAIR w/Contrast": "MR sequence=FLAIR contrast=iv",
    "MR - T2 weighted": "MR sequence=T2",
    "MR T2* gradient GRE": "MR sequence=GRE",
    "MR T2* gradient,GRE,MPGR,SWAN,SWI": "MR sequence=GRE",
    "MRI": "MR",
    "MRA - MR Angiography/Venography": "MR technique=angiography",
    "MRS - Spectroscopy": "MR technique=spectroscopy",
    "Mammograph": "MG",
    "Montage of Images": "OT montage=yes",
    "Myelogram": "RF contrast=intrathecal technique=myelography",
    "NM - Nuclear Medicine": "NM",
    "PET - Positron Emission": "PT",
    "PET-CT Fusion": "PT technique=CT_fusion",
    "RU - Retrograde Urogram": "RF contrast=retrograde technique=urography",
    "SBFT - Small Bowel": "RF contrast=oral",
    "SPECT": "NM technique=SPECT",
    "SPECT - Single Photon": "NM technique=SPECT",
    "Tomography": "OT technique=tomography",
    "UGI - Upper GI": "RF contrast=oral",
    "US - Ultrasound": "US",
    "US-D - Doppler Ultrasound": "US technique=doppler",
    "VCUG - Voiding Cystourethrogram": "RF contrast=intravesical",
    "Venogram": "XA contrast=iv technique=venography",
    "Virtual Colonoscopy": "CT technique=colonography",
    "XR - Plain Film": "DX",
}

# words of other corpora, and DICOM's codes where a table holds them
_ELSEWHERE = {
    "Angiography": "XA technique=angiography",
    "CR": "DX",
    "CT scan": "CT",
    "Computed tomography": "CT",
    "DX": "DX",
    "Fluoroscopy": "RF",
    "MG": "MG",
    "MR imaging": "MR",
    "Magnetic resonance imaging": "MR",
    "Mammography": "MG",
    "NM": "NM",
    "PET": "PT",
    "PT": "PT",
    "RF": "RF",
    "Radiology": "OT",  # said of figures, of whatever modality
    "Radiograph": "DX",
    "Radiography": "DX",
    "US": "US",
    "Ultrasound": "US",
    "X ray": "DX",
    "X-ray": "DX",
    "XA": "XA",
    "XR": "DX",
}

_NOT_RADIOLOGY = (
    "CP - Clinical photograph",
    "Dermatology",
    "Drawing",
    "ECG EKG",
    "EM - Electron Microscopic",
    "EP - Endoscopy",
    "Fundoscopy",
    "GR - Gross photograph",
    "HE - High Power (>200X)",
    "HE - Low Power (<50x)",
    "HE - Med Power (~50-200x)",
    "Histology (NOS)",
    "Histology - Special Stain (specify in caption)",
    "LOGO",
    "OPHTH - Fundoscopy",
    "OPHTH - Slit-Lamp",
    "OR - Operative photograph",
    "Photograph",
    "Photographs",
    "Special Stain (specify in caption)",
)

_PLANES = {
    "3D Reconstruction": "3d",
    "AP": "ap",
    "Axial": "axial",
    "Coronal": "coronal",
    "Decubitus": "decubitus",
    "Frontal": "frontal",
    "Image Plane": None,  # the pick list's heading, left as it was
    "Lateral": "lateral",
    "Longitudinal": "longitudinal",
    "Mammo - CC": "cc",
    "Mammo - MLO": "mlo",
    "Mammo - Mag CC": "mag_cc",
    "Mammo - XCC": "xcc",
    "Multiple or Montage": "multiple",
    "NOS - Not specified": None,
    "Oblique": "oblique",
    "Other View (see caption)": "other",
    "PA": "pa",
    "Sagittal": "sagittal",
    "Transverse": "axial",
}

_PLANES_ELSEWHERE = {
    "AP Erect": "ap",
    "AP Supine": "ap",
    "AP semi erect": "ap",
    "L": "lateral",
    "LL": "lateral",
    "RL": "lateral",
}
_NOT_RADIOLOGY_PLANES = ("Dermatology", "Drawing", "Gross Pathology", "Histology", "Photograph")


def _folded(raw: str) -> str:
    return " ".join(raw.split()).casefold()


def _parsed(spec: str) -> Modality:
    code, *details = spec.split()
    return Modality(
        code, details=tuple((field, value) for field, _, value in (item.partition("=") for item in details))
    )


_MODALITY = {
    **{_folded(raw): _parsed(spec) for raw, spec in (_RADIOLOGY | _ELSEWHERE).items()},
    **{_folded(raw): Modality(None, NOT_RADIOLOGY) for raw in _NOT_RADIOLOGY},
    **{raw: Modality(None, NOT_ASSIGNED) for raw in ("", "not assigned")},
}
_PLANE = {
    **{_folded(raw): Plane(plane) for raw, plane in (_PLANES | _PLANES_ELSEWHERE).items()},
    **{_folded(raw): Plane(None, NOT_RADIOLOGY) for raw in _NOT_RADIOLOGY_PLANES},
    "": Plane(None),
}

CODES = tuple(sorted({found.code for found in _MODALITY.values() if found.code}))
PLANES = tuple(sorted({found.plane for found in _PLANE.values() if found.plane}))


def read_modality(raw: str | None) -> Modality:
    """The code, drop reason and finer labels of a source's modality string; an unknown one is dropped as such."""
    return _MODALITY.get(_folded(raw or ""), Modality(None, UNKNOWN, known=False))


def read_plane(raw: str | None) -> Plane:
    """The plane of a source's plane string; an unknown one is null, and its pair is kept."""
    return _PLANE.get(_folded(raw or ""), Plane(None, known=False))
