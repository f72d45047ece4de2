"""One frame of a DICOM file as an 8-bit picture: as its header says that it is to be shown, overlays off."""

import io
import logging
import struct
import warnings
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import RLELossless

from corpus_db.importers.dicom_tags import regions, value_of
from corpus_db.store import MAX_BYTES, MAX_PIXELS, BadImage

MAX_FRAMES = 2000  # of one file
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_META = 144  # where the rest of the file meta information begins, whose length stands before it
_SOF = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # JPEG's and JPEG-LS's markers of a frame's size
_MANY = 2**16  # values that are mapped by a table, not pixel by pixel
_MACROS = ("PixelValueTransformationSequence", "FrameVOILUTSequence")
Get = Callable[[str], Any]
# pydicom warns of every oddity, twice, and strangers' files are full of them
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", module="pydicom")


def read(body: bytes) -> Dataset:
    """A DICOM file; BadImage tells why it is none."""
    if body[128:132] != b"DICM":
        raise BadImage("not_dicom")
    _inflatable(body)
    try:
        return dcmread(io.BytesIO(body))
    except Exception:  # as it likes, on bytes from strangers
        raise BadImage("broken_dicom") from None


def _inflatable(body: bytes) -> None:
    """BadImage for a packed file that unpacks to more than a file may hold: pydicom would unpack it all."""
    if _DEFLATED in body[:1024]:
        begin = _META + int.from_bytes(body[140:144], "little")
        unpacking = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            if len(unpacking.decompress(body[begin:], MAX_BYTES + 1)) > MAX_BYTES:
                raise BadImage("too_large")
        except zlib.error:
            raise BadImage("broken_dicom") from None


def frames(file: Dataset) -> int:
    """How many frames it has; BadImage where it has none, or more or larger ones than it may."""
    try:
        if not any(name in file for name in _PIXELS):
            raise BadImage("no_pixels")
        if file.get("BitsAllocated") is None or not (file.get("Rows") and file.get("Columns")):
            raise BadImage("broken_dicom")
        count = int(file.get("NumberOfFrames") or 1)
        pixels, samples = file.Rows * file.Columns, file.get("SamplesPerPixel") or 1
        if count > MAX_FRAMES:
            raise BadImage("too_many_frames")
        if pixels > MAX_PIXELS or samples > 4:
            raise BadImage("too_many_pixels")
        if count < 1:
            raise BadImage("broken_dicom")
        return count
    except BadImage:
        raise
    except Exception:  # a value that cannot be read
        raise BadImage("broken_dicom") from None


def picture(body: bytes, frame: int) -> bytes:
    """The PNG file of a frame, counted from 0; BadImage where it does not decode."""
    file = read(body)
    if not 0 <= frame < frames(file):
        raise BadImage("broken_dicom")
    if value_of(file, "BurnedInAnnotation") == "YES":
        raise BadImage("burned_in")
    with warnings.catch_warnings(action="ignore"):
        stored = decoded(file, frame)
        try:
            shown = cropped(file, as_shown(file, frame, stored))
        except Exception:
            raise BadImage("broken_dicom") from None
    made = io.BytesIO()
    Image.fromarray(shown).save(made, "PNG", compress_level=3)  # half the time of 6, and an eighth more bytes
    return made.getvalue()


def decoded(file: Dataset, frame: int) -> np.ndarray:
    """The stored values of a frame, or RGB ones where it is YBR; BadImage tells why there are none."""
    try:
        decoder = get_decoder(file.file_meta["TransferSyntaxUID"].value)
    except (AttributeError, KeyError, NotImplementedError):
        raise BadImage("unknown_transfer_syntax") from None
    if not decoder.is_available:
        raise BadImage("no_decoder")
    packed = decoder.UID.is_encapsulated
    plugin = "pydicom" if RLELossless == decoder.UID else ""  # pylibjpeg's panics on a broken frame, past any except
    try:
        if packed:
            count = int(file.get("NumberOfFrames") or 1)
            if _claimed(get_frame(file.PixelData, frame, number_of_frames=count)) > file.Rows * file.Columns:
                raise BadImage("broken_image")  # before a decoder takes the memory that it asks for
        return pixel_array(file, index=frame, decoding_plugin=plugin)
    except BadImage:
        raise
    except Exception as error:  # each plug-in has its own
        if packed and not plugin and not {"pylibjpeg", "gdcm"} & set(decoder.available_plugins):
            raise BadImage("no_decoder") from None
        if "less than expected" in str(error):
            raise BadImage("truncated_image") from None
        raise BadImage("broken_image" if packed else "broken_dicom") from None


def _claimed(code: bytes) -> int:
    """How many pixels a JPEG, JPEG-LS or JPEG 2000 stream says that it holds, which need not be what its file says."""
    size = code[:512].find(b"\xff\x4f\xff\x51")
    if size >= 0:
        width, height, left, top = struct.unpack_from(">4I", code, size + 8)
        return (width - left) * (height - top)
    at = 2
    while code[:2] == b"\xff\xd8" and at + 9 <= len(code):
        marker, length, _, height, width = struct.unpack_from(">xBHBHH", code, at)
        if marker in _SOF:
            return height * width
        at += 1 if marker == 0xFF else 2 + length  # a marker may be filled up with 0xFF
    return 0


def as_shown(file: Dataset, frame: int, stored: np.ndarray) -> np.ndarray:
    """8-bit grey or RGB of a frame's stored values."""
    photometric = str(file.get("PhotometricInterpretation") or "").strip()
    if photometric == "PALETTE COLOR":
        colours = apply_color_lut(stored, file)[..., :3]
        return (colours >> 8 if colours.max() > 255 else colours).astype(np.uint8)
    if stored.ndim == 3:
        if stored.shape[2] != 3:
            raise BadImage("broken_dicom")
        return stored if stored.dtype == np.uint8 else (stored >> max(file.BitsStored - 8, 0)).astype(np.uint8)
    grey = _grey(_tags_of(file, frame), _without_overlay(file, stored))
    return 255 - grey if photometric == "MONOCHROME1" else grey


def cropped(file: Dataset, shown: np.ndarray) -> np.ndarray:
    """The part of an ultrasound picture that its regions are in: names stand outside them.

    Regions that do not fit the picture (someone made it smaller) say nothing of it.
    """
    boxes = regions(file)
    height, width = shown.shape[:2]
    if not boxes or not all(0 <= x0 < x1 < width and 0 <= y0 < y1 < height for x0, y0, x1, y1 in boxes):
        return shown
    left, top, right, bottom = (
        pick(sides) for pick, sides in zip((min, min, max, max), zip(*boxes, strict=True), strict=True)
    )
    return np.ascontiguousarray(shown[top : bottom + 1, left : right + 1])


def _tags_of(file: Dataset, frame: int) -> Get:
    """Tags as they hold for one frame of an enhanced file, which tells them of all frames, or of each, in sequences."""
    own = Dataset()
    shared, each = file.get("SharedFunctionalGroupsSequence"), file.get("PerFrameFunctionalGroupsSequence")
    for groups in ((shared or [None])[0], each[frame] if each and frame < len(each) else None):
        for macro in _MACROS:
            if groups is not None and groups.get(macro):
                own.update(groups[macro].value[0])
    return lambda name: own[name].value if name in own else file.get(name)


def _without_overlay(file: Dataset, stored: np.ndarray) -> np.ndarray:
    """Without the bits above those of the picture, where an overlay is kept in them (as was done before 2004)."""
    inside = [group for group in range(0x6000, 0x6020, 2) if (group, 0x0102) in file and (group, 0x3000) not in file]
    spare = stored.dtype.itemsize * 8 - int(file.BitsStored) if stored.dtype.kind in "iu" else 0
    return stored << spare >> spare if inside and spare > 0 else stored


def _grey(get: Get, stored: np.ndarray) -> np.ndarray:
    if stored.dtype.kind not in "iu":
        return _windowed(get, stored.astype(np.float64), np.isfinite(stored))
    low, high = int(stored.min()), int(stored.max())
    if high - low >= _MANY:
        return _windowed(get, _real(get, stored), _not_padding(get, stored))
    place = (stored.astype(np.int64) - low).astype(np.uint16)
    values = np.arange(low, high + 1)
    there = np.bincount(place.ravel(), minlength=len(values)) > 0
    return _windowed(get, _real(get, values), there & _not_padding(get, values))[place]


def _not_padding(get: Get, stored: np.ndarray) -> np.ndarray:
    ends = [value for value in (get("PixelPaddingValue"), get("PixelPaddingRangeLimit")) if isinstance(value, int)]
    return ~((stored >= min(ends)) & (stored <= max(ends))) if ends else np.ones(stored.shape, bool)


def _real(get: Get, stored: np.ndarray) -> np.ndarray:
    """Through the modality LUT or the rescale: Hounsfield units, in CT."""
    if luts := get("ModalityLUTSequence"):
        return _looked_up(luts[0], stored).astype(np.float64)
    slope, intercept = get("RescaleSlope"), get("RescaleIntercept")
    if slope is None or intercept is None:
        return stored.astype(np.float64)
    return stored * float(slope) + float(intercept)


def _windowed(get: Get, real: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Through the VOI LUT or the first window; where there is none, 8 bits as they are and others from the least value
    to the greatest of those that are `counted`."""
    if luts := get("VOILUTSequence"):
        return _to_8_bits(_looked_up(luts[0], real) / (2 ** int(luts[0].LUTDescriptor[2]) - 1))
    center, width = _first(get("WindowCenter")), _first(get("WindowWidth"))
    function = str(get("VOILUTFunction") or "LINEAR").upper()
    if center is not None and width is not None and width >= (1 if function == "LINEAR" else 1e-9):
        if function == "SIGMOID":
            with np.errstate(over="ignore"):
                return _to_8_bits(1 / (1 + np.exp(-4 * (real - center) / width)))
        if function == "LINEAR":  # DICOM PS3.3 C.11.2.1.2.1
            center, width = center - 0.5, max(width - 1, 1e-9)
        return _to_8_bits((real - center) / width + 0.5)
    bits = get("BitsStored") or 8
    same = _first(get("RescaleSlope")) in (None, 1) and _first(get("RescaleIntercept")) in (None, 0)
    if bits <= 8 and same and not get("PixelRepresentation") and not get("ModalityLUTSequence"):
        return _to_8_bits(real / (2**bits - 1))
    told = real[counted] if counted.any() else real[np.isfinite(real)]
    least, greatest = (told.min(), told.max()) if told.size else (0, 0)
    return _to_8_bits((real - least) / ((greatest - least) or 1))


def _first(value: Any) -> float | None:
    if value is None or value == "":
        return None
    first = float(value if isinstance(value, str | int | float) else value[0])
    return first if np.isfinite(first) else None


def _looked_up(lut: Dataset, values: np.ndarray) -> np.ndarray:
    count, first, _ = (int(value) for value in lut.LUTDescriptor)
    count, data = count or 2**16, lut.LUTData
    if isinstance(data, bytes):
        data = np.frombuffer(data, "<u2" if len(data) >= 2 * count else "u1")
    table = np.asarray(data)[:count]
    if first >= 2**15 and values.min() < 0:
        first -= 2**16  # the descriptor's VR may lose the sign
    return table[np.clip(np.nan_to_num(values) - first, 0, len(table) - 1).astype(np.int64)]


def _to_8_bits(share: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(np.nan_to_num(share), 0, 1) * 255).astype(np.uint8)
