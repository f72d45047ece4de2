"""What of a DICOM header is kept: tags of an allow-list whose values are of the form they must have, and hashed keys.

Whoever typed into a free text may have typed a name, so of free text only those words are kept that the project's own
lexicon reads (a body part, a sequence, a contrast agent); of codes only those that are codes.
"""

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydicom.dataset import Dataset

from corpus_db.deidentify import deidentify_age
from corpus_db.errors import UserError
from corpus_db.recent import data_folder
from corpus_db.regions import body_part_region
from corpus_db.text_labels import text_votes

SALT = "dicom.salt"  # in the data folder
_SALT = re.compile("[0-9a-f]{64}")
Parse = Callable[[str], str | None]


def _code(value: str) -> str | None:
    return value if re.fullmatch("[A-Z0-9_ ]{1,16}", value) else None


def _number(value: str) -> str | None:
    return value if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", value) and len(value) <= 24 else None


def _age(value: str) -> str | None:
    return deidentify_age(value) if re.fullmatch(r"\d{3}[DWMY]", value) else None


def _words(value: str) -> str | None:
    """The words of a free text that the lexicon reads, and no other."""
    return " ".join(dict.fromkeys(vote.evidence for vote in text_votes(value))) or None


def _body_part(value: str) -> str | None:
    """Consoles let people type here."""
    return _code(value) if body_part_region(value) else None


def _one_of(*values: str) -> Parse:
    return lambda value: value if value in values else None


_VIEWS = "AP PA LL RL RLD LLD RLO LLO CC MLO ML LM LMO SIO XCC XCCL XCCM ISO FB CV AT TAN LATERAL"
_DIRECTIONS = "A P L R H F AL AR PL PR AH AF PH PF LH LF RH RF HL HR FL FR"
_TYPES = "ORIGINAL DERIVED PRIMARY SECONDARY AXIAL LOCALIZER MPR M P R I"
# PS3.3 C.7.3.1.1.1 and C.7.6.3.1.2, retired ones too
_MODALITIES = (
    "AR AS ASMT AU BDUS BI BMD CD CF CFM CP CR CS CT CTPROTOCOL DD DF DG DM DOC DR DS DX EC ECG EEG EMG "
    "EOG EPS ES FA FID FS GM HC HD IO IOL IVOCT IVUS KER KO LEN LP LS M3D MA MG MR MS NM OAM OCT OP OPM "
    "OPR OPT OPTBSV OPTENF OPV OSS OT PA PHOTO PLAN POS PR PT PX REG RESP RF RG RTDOSE RTIMAGE RTINTENT "
    "RTPLAN RTRAD RTRECORD RTSEGANN RTSTRUCT RWV SEG SM SMR SR SRF ST STAIN TEXTUREMAP TG US VA VF VIDD "
    "XA XAPROTOCOL XC"
)
_PHOTOMETRIC = (
    "MONOCHROME1 MONOCHROME2 RGB YBR_FULL YBR_FULL_422 YBR_PARTIAL_420 YBR_PARTIAL_422 YBR_ICT YBR_RCT XYB HSV "
    "ARGB CMYK"
)
_YES = _one_of("YES", "NO")
_SIDE = _one_of("L", "R", "B", "U")
KEPT: Mapping[str, Parse] = {
    "Modality": _one_of(*_MODALITIES.split()),
    "BodyPartExamined": _body_part,
    "ImageLaterality": _SIDE,
    "Laterality": _SIDE,
    "ViewPosition": _one_of(*_VIEWS.split()),
    "PatientOrientation": _one_of(*_DIRECTIONS.split()),
    "PatientPosition": _one_of("HFP", "HFS", "HFDR", "HFDL", "FFDR", "FFDL", "FFP", "FFS"),
    "ImageOrientationPatient": _number,
    "ImageType": _one_of(*_TYPES.split()),
    "BurnedInAnnotation": _YES,
    "LossyImageCompression": _one_of("00", "01"),
    "PhotometricInterpretation": _one_of("PALETTE COLOR", *_PHOTOMETRIC.split()),
    "Rows": _number,
    "Columns": _number,
    "NumberOfFrames": _number,
    "BitsStored": _number,
    "WindowCenter": _number,
    "WindowWidth": _number,
    "PixelSpacing": _number,
    "ImagerPixelSpacing": _number,
    "SliceThickness": _number,
    "SpacingBetweenSlices": _number,
    "KVP": _number,
    "ExposureTime": _number,
    "XRayTubeCurrent": _number,
    "MagneticFieldStrength": _number,
    "EchoTime": _number,
    "RepetitionTime": _number,
    "InversionTime": _number,
    "FlipAngle": _number,
    "ScanningSequence": _one_of("SE", "IR", "GR", "EP", "RM"),
    "SequenceVariant": _one_of("SK", "MTC", "SS", "TRSS", "SP", "MP", "OSP", "NONE"),
    "MRAcquisitionType": _one_of("2D", "3D"),
    "ContrastBolusAgent": _words,
    "SeriesDescription": _words,
    "StudyDescription": _words,
    "PatientSex": _one_of("M", "F", "O"),
    "PatientAge": _age,
}
VOTING = ("Modality", "BodyPartExamined", "ImageLaterality", "Laterality", "ViewPosition", "SeriesDescription")


def kept(header: Dataset) -> dict[str, str]:
    """The tags that are kept, by keyword, several values parted as DICOM parts them; none is of another form."""
    found = {}
    for keyword, parse in KEPT.items():
        told = [parse(value) for value in _values(header, keyword)]
        if values := [value for value in told if value is not None]:
            if parse is _number and len(values) < len(told):
                continue  # the others would stand in the wrong places
            found[keyword] = "\\".join(values)
    return found


def _values(header: Dataset, keyword: str) -> list[str]:
    value = value_of(header, keyword)
    several = value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else [value]
    return [str(one).strip() for one in several if one is not None and str(one).strip()]


def value_of(header: Dataset, keyword: str) -> Any:
    """A tag's value; None where it has none or one that cannot be read."""
    try:
        return header.get(keyword)
    except Exception:  # pydicom reads a value when it is asked for, and raises what it likes on a stranger's
        return None


def regions(header: Dataset) -> list[list[int]]:
    """The boxes (left, top, right, bottom, edges among them) that an ultrasound machine says its picture is in."""
    names = ("RegionLocationMinX0", "RegionLocationMinY0", "RegionLocationMaxX1", "RegionLocationMaxY1")
    boxes = [[value_of(item, name) for name in names] for item in value_of(header, "SequenceOfUltrasoundRegions") or ()]
    return [[int(side) for side in box] for box in boxes if all(isinstance(side, int) for side in box)]


def plane(orientation: str | None) -> str | None:
    """Which way a slice lies, from the directions of its rows and columns (Image Orientation (Patient))."""
    try:
        x1, y1, z1, x2, y2, z2 = (float(value) for value in (orientation or "").split("\\"))
    except ValueError:
        return None
    across = {"sagittal": y1 * z2 - z1 * y2, "coronal": z1 * x2 - x1 * z2, "axial": x1 * y2 - y1 * x2}
    name = max(across, key=lambda each: abs(across[each]))
    return None if not across[name] else name if abs(across[name]) > 0.8 else "oblique"


class Keys:
    """Makes keys of what identifies: the same here every time, of no use to whoever lacks this data folder's salt."""

    def __init__(self, salt: str):
        self._salt = bytes.fromhex(salt)

    def of(self, kind: str, value: object) -> str:
        """The key of a study, a series, an instance, a patient or a file."""
        told = f"{kind}\0{value}".encode("utf-8", "surrogatepass")
        return hmac.new(self._salt, told, hashlib.sha256).hexdigest()[:32]

    @classmethod
    def here(cls) -> "Keys":
        """With the data folder's salt, made the first time; UserError where it cannot be read."""
        path = data_folder() / SALT
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                salt = path.read_text(encoding="ascii").strip()
            else:
                salt = secrets.token_hex(32)
                with os.fdopen(handle, "w") as file:
                    file.write(salt + "\n")
                    file.flush()
                    os.fsync(file.fileno())
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: cannot be read or made ({getattr(error, 'strerror', None) or error})") from error
        if not _SALT.fullmatch(salt):
            raise UserError(f"{path}: no salt of 64 hex digits; put it back, or remove it to import under new keys")
        return cls(salt)
