import io
import json
import os
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut, convert_color_space
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    generate_uid,
)
from sqlalchemy import Engine, inspect

from corpus_db import importers, labels
from corpus_db.errors import UserError
from corpus_db.importers import dicom, dicom_pixels, dicom_tags
from corpus_db.recent import data_folder
from corpus_db.records import CaseRecord
from corpus_db.store import BadImage
from tests.corpus_db.importing import rows

BUNDLED = Path(pydicom.__file__).parent / "data"
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
CT, REPORT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.11"


def instance(syntax: Any = ExplicitVRLittleEndian, **tags: Any) -> bytes:
    """A file of 4 x 4 grey pixels, 0 to 15, or as `tags` say."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    pixels = np.arange(16, dtype=np.uint8).reshape(4, 4)
    given = {
        "SOPClassUID": CT,
        "SOPInstanceUID": generate_uid(),
        "StudyInstanceUID": generate_uid(),
        "Modality": "CT",
        **{"Rows": 4, "Columns": 4, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0},
        **{"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "PixelData": pixels.tobytes()},
    } | tags
    for name, value in given.items():
        if value is not None:
            setattr(made, name, value)
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    file = io.BytesIO()
    pydicom.dcmwrite(file, made, enforce_file_format=True)
    return file.getvalue()


def grey(values: Any, **tags: Any) -> bytes:
    """A file of these values, 16 bits each."""
    stored = np.asarray(values)
    signed = stored.min() < 0
    return instance(
        **{"Rows": stored.shape[0], "Columns": stored.shape[1], "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15},
        **{"PixelRepresentation": int(signed), "PixelData": stored.astype("<i2" if signed else "<u2").tobytes()},
        **tags,
    )


def report(study: Any, *said: Dataset, **tags: Any) -> bytes:
    none = dict.fromkeys(("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"))
    none |= dict.fromkeys(("SamplesPerPixel", "PhotometricInterpretation", "PixelData"))
    return instance(
        SOPClassUID=REPORT, Modality="SR", StudyInstanceUID=study, ContentSequence=list(said), **(none | tags)
    )


def content(kind: str, relation: str = "CONTAINS", **tags: Any) -> Dataset:
    made = Dataset()
    made.ValueType, made.RelationshipType = kind, relation
    for name, value in tags.items():
        setattr(made, name, value)
    return made


def shown(body: bytes, part: str | None = None) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(dicom.render(body, part))))


def refused(body: bytes) -> str:
    with pytest.raises(BadImage) as caught:
        dicom.render(body, None)
    return caught.value.reason


def cases(engine: Engine) -> list[CaseRecord]:
    bodies = [body for (body,) in rows(engine, "SELECT body FROM raw_record ORDER BY id")]
    found = [dicom.read("encounter", json.loads(body) if isinstance(body, str) else body) for body in bodies]
    return [case for case in found if case is not None]


def everything(engine: Engine) -> str:
    """All that any column of any table holds."""
    names = inspect(engine).get_table_names()
    return "\n".join(repr(row) for name in names for row in rows(engine, f'SELECT * FROM "{name}"'))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "discs"
    made.mkdir()
    return made


# --- pixels: pydicom's own files beside its own pipeline ---------------------------------------------------------


def with_pixels() -> Iterator[Path]:
    for path in sorted(BUNDLED.rglob("*")):
        if path.is_file() and path.read_bytes()[128:132] == b"DICM":
            file = pydicom.dcmread(path)
            if any(name in file for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
                yield path


def expected(path: Path, frame: int) -> np.ndarray:
    """What pydicom makes of a frame, spread over 8 bits as docs/import.md says."""
    file = pydicom.dcmread(path)
    stored = pixel_array(file, index=frame, raw=True)
    kind, bits = file.PhotometricInterpretation, file.BitsStored
    if kind == "PALETTE COLOR":
        return (apply_color_lut(stored, file) >> 8).astype(np.uint8)
    if stored.ndim == 3:
        rgb = convert_color_space(stored, kind, "RGB") if kind in ("YBR_FULL", "YBR_FULL_422") else stored
        return (rgb // 2 ** (bits - 8)).astype(np.uint8)
    real = apply_modality_lut(stored, file)
    if "WindowWidth" in file:
        full = np.array([-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] if file.PixelRepresentation else [0, 2**bits - 1])
        least, greatest = apply_modality_lut(full, file)
        real = apply_voi_lut(real, file)
    elif bits <= 8:
        least, greatest = 0, 2**bits - 1
    else:
        told = real[stored != file.PixelPaddingValue] if "PixelPaddingValue" in file else real
        least, greatest = told.min(), told.max()
    share = np.clip((real.astype(np.float64) - least) / ((greatest - least) or 1), 0, 1)
    return np.rint((1 - share if kind == "MONOCHROME1" else share) * 255).astype(np.uint8)


@pytest.mark.filterwarnings("ignore")
def test_each_bundled_file_with_pixels_is_as_pydicom_shows_it_or_is_refused_with_a_reason() -> None:
    pytest.importorskip("libjpeg", reason="the extra dicom is not installed")
    refusals, frames, files = {}, 0, list(with_pixels())
    for path in files:
        body = path.read_bytes()
        try:
            count = dicom_pixels.frames(dicom_pixels.read(body))
            for frame in range(count):
                made, told = shown(body, str(frame + 1)), expected(path, frame)
                assert np.array_equal(made, told), path.name
                frames += 1
        except BadImage as bad:
            refusals[path.name] = bad.reason
    assert refusals == {
        "JPEG-lossy.dcm": "broken_image",
        "JPEG2000-embedded-sequence-delimiter.dcm": "broken_image",
        "MR_truncated.dcm": "truncated_image",
        "badVR.dcm": "broken_dicom",
        "meta_missing_tsyntax.dcm": "broken_dicom",
        "nested_priv_SQ.dcm": "broken_dicom",
    }
    assert (len(files), len(files) - len(refusals), frames) == (107, 101, 175)


WITHOUT_EXTRA = """
import sys; sys.modules["pylibjpeg"] = None
from collections import Counter; from pathlib import Path
from corpus_db.importers import dicom; from corpus_db.store import BadImage
found = Counter()
for path in sys.argv[1:]:
    try: found["ok" if dicom.render(Path(path).read_bytes(), None) else ""] += 1
    except BadImage as bad: found[bad.reason] += 1
print(dict(sorted(found.items())))
"""


def test_what_only_the_extra_unpacks_is_told_without_it() -> None:
    words = [sys.executable, "-c", WITHOUT_EXTRA, *map(str, with_pixels())]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    if "gdcm" in sys.modules:
        pytest.skip("GDCM is installed, which unpacks them")
    expected = {"broken_dicom": 3, "broken_image": 1, "no_decoder": 9, "ok": 93, "truncated_image": 1}
    assert told == str(expected)


# --- pixels: by hand --------------------------------------------------------------------------------------------


def test_the_first_window_is_applied_to_rescaled_values() -> None:
    body = grey([[0, 1000, 1024, 1064, 1104, 3000]], RescaleSlope=1, RescaleIntercept=-1024,
                WindowCenter=["40", "400"], WindowWidth=["81", "9"])  # fmt: skip
    assert shown(body).tolist() == [[0, 0, 2, 129, 255, 255]]  # ((x - 39.5) / 80 + 0.5) * 255 of -1024, -24, 0, 40, 80


def test_no_window_spreads_the_frame_from_its_least_value_to_its_greatest_but_for_padding() -> None:
    assert shown(grey([[-2000, -100, 0, 100]], PixelPaddingValue=-2000)).tolist() == [[0, 0, 128, 255]]
    assert shown(grey([[-2000, 0, 2000]])).tolist() == [[0, 128, 255]]
    assert shown(grey([[7, 7]])).tolist() == [[0, 0]]
    assert shown(instance())[3].tolist() == [12, 13, 14, 15]  # 8 bits are shown as they are


def test_monochrome_1_is_inverted_and_a_width_that_means_nothing_is_no_window() -> None:
    assert shown(instance(PhotometricInterpretation="MONOCHROME1"))[0].tolist() == [255, 254, 253, 252]
    assert shown(grey([[0, 50, 100]], WindowCenter=50, WindowWidth=0)).tolist() == [[0, 128, 255]]
    assert shown(grey([[0, 50, 100]], WindowCenter=50, WindowWidth=1)).tolist() == [[0, 255, 255]]
    exact = {"WindowCenter": 50, "WindowWidth": 100, "VOILUTFunction": "LINEAR_EXACT"}
    assert shown(grey([[0, 20, 100]], **exact)).tolist() == [[0, 51, 255]]
    assert shown(grey([[0, 50, 100]], **exact | {"VOILUTFunction": "SIGMOID"})).tolist() == [[30, 128, 225]]


def lut(first: int, bits: int, *values: int) -> Dataset:
    made = Dataset()
    made.LUTDescriptor = [len(values), first, bits]
    made.add_new("LUTData", "OW", np.array(values, "<u2" if bits > 8 else "u1").tobytes())
    return made


def test_lookup_tables_are_applied_before_windows() -> None:
    assert shown(grey([[9, 10, 11, 12, 99]], VOILUTSequence=[lut(10, 8, 0, 100, 255, 255)])).tolist() == [
        [0, 0, 100, 255, 255]
    ]
    both = {"ModalityLUTSequence": [lut(0, 16, 0, 50, 500)], "WindowCenter": 50.5, "WindowWidth": 101}
    assert shown(grey([[0, 1, 2]], **both)).tolist() == [[0, 128, 255]]


def test_an_overlay_in_the_spare_bits_is_not_shown() -> None:
    file = pydicom.dcmread(io.BytesIO(grey([[0, 100 + 2**12, 200]], WindowCenter=100.5, WindowWidth=201)))
    file.BitsStored, file.HighBit = 12, 11
    for element, vr, value in ((0x10, "US", 1), (0x11, "US", 3), (0x100, "US", 16), (0x102, "US", 12)):
        file.add_new((0x6000, element), vr, value)
    made = io.BytesIO()
    file.save_as(made)
    assert shown(made.getvalue()).tolist() == [[0, 128, 255]]


def test_colours_of_16_bits_and_of_a_palette_are_8_bits_of_red_green_and_blue() -> None:
    rgb = {"SamplesPerPixel": 3, "PlanarConfiguration": 0, "PhotometricInterpretation": "RGB", "Rows": 1, "Columns": 1}
    deep = {"BitsAllocated": 16, "BitsStored": 16, "HighBit": 15}
    body = instance(**rgb, **deep, PixelData=np.array([0x1234, 0xFFFF, 0x00FF], "<u2").tobytes())
    assert shown(body).tolist() == [[[0x12, 0xFF, 0]]]
    palette: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour, value in (("Red", 0x1000), ("Green", 0x2000), ("Blue", 0xFF00)):
        palette[f"{colour}PaletteColorLookupTableDescriptor"] = [16, 0, 16]
        palette[f"{colour}PaletteColorLookupTableData"] = np.full(16, value, "<u2").tobytes()
    assert shown(instance(**palette))[0, 0].tolist() == [0x10, 0x20, 0xFF]


def test_each_frame_of_an_enhanced_file_has_its_own_window() -> None:
    def group(center: int) -> Dataset:
        made, window = Dataset(), Dataset()
        window.WindowCenter, window.WindowWidth = center, 101
        made.FrameVOILUTSequence = [window]
        return made

    stored = np.full((2, 4, 4), 50, "<u2")
    tags = {"NumberOfFrames": 2, "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "PixelData": stored.tobytes()}
    body = instance(**tags, PerFrameFunctionalGroupsSequence=[group(0), group(100)])
    assert (shown(body, "1")[0, 0], shown(body, "2")[0, 0]) == (255, 1)


def region(*box: int) -> Dataset:
    made = Dataset()
    made.RegionLocationMinX0, made.RegionLocationMinY0, made.RegionLocationMaxX1, made.RegionLocationMaxY1 = box
    return made


def test_an_ultrasound_is_cropped_to_its_regions_where_they_fit() -> None:
    body = instance(SequenceOfUltrasoundRegions=[region(1, 2, 2, 3), region(2, 1, 3, 3)])
    assert shown(body).tolist() == [[5, 6, 7], [9, 10, 11], [13, 14, 15]]
    assert shown(instance(SequenceOfUltrasoundRegions=[region(1, 2, 40, 3)])).shape == (4, 4)


# --- what is refused --------------------------------------------------------------------------------------------


def test_what_is_broken_or_too_much_is_refused_with_its_reason() -> None:
    whole = instance()
    packed = {"PixelData": encapsulate([b"\xff\x4f\xff\x51" + b"\0" * 4 + b"\0\0\xff\xff" * 2 + b"\0" * 60])}
    assert refused(b"") == refused(b"no DICOM" * 100) == "not_dicom"
    assert refused(whole[:-8]) == "truncated_image"
    assert refused(whole[:200]) in ("broken_dicom", "no_pixels")
    assert refused(instance(PixelData=None)) == "no_pixels"
    assert refused(instance(Rows=None)) == "broken_dicom"
    assert refused(instance(NumberOfFrames=2**31 - 1)) == "too_many_frames"
    assert refused(instance(Rows=65535, Columns=65535)) == "too_many_pixels"
    assert refused(instance(MPEG2MPML, PixelData=encapsulate([b"\0" * 8]))) == "unknown_transfer_syntax"
    assert refused(instance(JPEG2000Lossless, **packed)) == "broken_image"
    assert refused(instance(BurnedInAnnotation="YES")) == "burned_in"


def test_a_packed_file_that_unpacks_to_too_much_is_refused_before_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(instance(DeflatedExplicitVRLittleEndian))[0].tolist() == [0, 1, 2, 3]
    monkeypatch.setattr(dicom_pixels, "MAX_BYTES", 2**16)
    monkeypatch.setattr(pydicom.filereader, "read_dataset", None)
    packing = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    head = instance(DeflatedExplicitVRLittleEndian)
    head = head[: 144 + int.from_bytes(head[140:144], "little")]
    assert refused(head + packing.compress(b"\0" * 2**20) + packing.flush()) == "too_large"


# --- the import -------------------------------------------------------------------------------------------------


def test_pydicoms_own_files_come_in_and_a_second_time_bring_nothing_new(engine: Engine) -> None:
    pytest.importorskip("libjpeg", reason="the extra dicom is not installed")
    imported = importers.run(engine, "dicom", BUNDLED, workers=1)
    assert imported.images == {"ok": 175, "broken_image": 2, "truncated_image": 1}
    assert imported.troubles["broken_dicom"] == 3 and set(imported.troubles) == {
        "broken_dicom",
        "no_pixels",
        "not_dicom",
    }
    again = importers.run(engine, "dicom", BUNDLED, workers=1)
    assert again.images == imported.images and again.troubles == imported.troubles
    assert (again.new_images, again.records["new"], again.records["changed"]) == (0, 0, 0)
    assert rows(engine, "SELECT count(*) FROM image_ref") == [(175,)]


@pytest.mark.parametrize("name", ["DICOMDIR", "DICOMDIR-bigEnd", "DICOMDIR-implicit"])
def test_a_dicomdir_names_its_files(engine: Engine, name: str) -> None:
    assert importers.run(engine, "dicom", BUNDLED / "test_files" / "dicomdirtests" / name).images == {"ok": 31}


def test_a_dicomdir_that_leads_out_or_names_what_is_not_there_is_told(engine: Engine, folder: Path) -> None:
    (folder.parent / "SECRET").write_bytes(instance())
    (folder / "here").write_bytes(instance())
    items = []
    for name in (["..", "SECRET"], ["/etc/passwd"], "GONE", "HERE"):
        item = Dataset()
        item.ReferencedFileID = name
        items.append(item)
    none = dict.fromkeys(("PixelData", "Rows", "Columns"))
    (folder / "DICOMDIR").write_bytes(
        instance(SOPClassUID="1.2.840.10008.1.3.10", DirectoryRecordSequence=items, **none)
    )
    imported = importers.run(engine, "dicom", folder / "DICOMDIR")
    assert imported.images == {"ok": 1} and imported.troubles == {"path_traversal": 2, "missing_file": 1}
    assert importers.run(engine, "dicom", folder).images == {"ok": 1}  # a folder's DICOMDIR is no image, and not told


def test_a_file_that_is_no_dicomdir_is_a_users_mistake(engine: Engine, folder: Path) -> None:
    (folder / "DICOMDIR").write_bytes(b"no")
    with pytest.raises(UserError, match="not a DICOMDIR: a file that is no DICOM"):
        importers.run(engine, "dicom", folder / "DICOMDIR")


def test_an_archive_gives_its_members_but_none_that_leads_out(engine: Engine, folder: Path) -> None:
    with zipfile.ZipFile(folder / "disc.zip", "w") as archive:
        archive.writestr("a/1.dcm", instance())
        archive.writestr("../../out.dcm", instance())
        archive.writestr("/root.dcm", instance())
        archive.writestr("README", "for people")
    imported = importers.run(engine, "dicom", folder / "disc.zip")
    assert imported.images == {"ok": 1} and imported.troubles == {"path_traversal": 2}
    with zipfile.ZipFile(folder.parent / "outer.zip", "w") as archive:
        archive.write(folder / "disc.zip", "disc.ZIP")
    nested = importers.run(engine, "dicom", folder.parent / "outer.zip")
    assert nested.details == {"broken_archive": {"in another archive: unpack that one first": 1}}
    (folder / "torn.zip").write_bytes(b"PK\3\4 no more")
    imported = importers.run(engine, "dicom", folder)
    assert imported.images == {"ok": 1} and imported.troubles == {"path_traversal": 2, "broken_archive": 1}


def test_what_is_no_dicom_is_told_but_for_what_lies_beside_images(engine: Engine, folder: Path) -> None:
    for name in ("README", "notes.txt", "autorun.inf", "viewer.exe"):
        (folder / name).write_text("for people")
    with pytest.raises(UserError, match="no DICOM file here"):
        importers.run(engine, "dicom", folder)
    (folder / "1.dcm").write_bytes(instance())
    (folder / "frames.dcm").write_bytes(instance(NumberOfFrames=2**31 - 1))
    (folder / "notes.md").write_bytes(instance(Rows=None))
    (folder / "photo.jpg").write_bytes(b"\xff\xd8 a photograph")
    os.symlink("/etc/passwd", folder / "link.dcm")
    imported = importers.run(engine, "dicom", folder)
    assert imported.images == {"ok": 1}
    assert imported.troubles == {"not_dicom": 1, "too_many_frames": 1, "broken_dicom": 1, "path_traversal": 1}


def test_the_frames_of_a_file_are_images_of_one_study(engine: Engine, folder: Path) -> None:
    stored = np.arange(48, dtype=np.uint8)
    (folder / "clip.dcm").write_bytes(instance(NumberOfFrames=3, PixelData=stored.tobytes(), Modality="US"))
    assert importers.run(engine, "dicom", folder).images == {"ok": 3}
    (case,) = cases(engine)
    assert [image.key.rpartition("-")[2] for image in case.images] == ["1", "2", "3"]
    assert len({image.url for image in case.images}) == 3 and {image.case_key for image in case.images} == {case.key}
    paths = [path for (path,) in rows(engine, 'SELECT path FROM "fetch" ORDER BY path')]
    assert {image.url for image in case.images} < set(paths)


def test_two_files_under_one_uid_are_both_kept(engine: Engine, folder: Path) -> None:
    for number in (1, 2):
        pixels = np.full(16, number, np.uint8).tobytes()
        (folder / f"{number}.dcm").write_bytes(instance(SOPInstanceUID="1.2.3", PixelData=pixels))
    assert importers.run(engine, "dicom", folder).images == {"ok": 2}
    assert importers.run(engine, "dicom", folder).records == {"unchanged": 2}


IDENTIFYING = {
    "PatientName": "QUILLON^ZEBEDEE",
    "PatientID": "MRN-7751903",
    "PatientBirthDate": "19310407",
    "OtherPatientIDs": "ALT-5550123",
    "AccessionNumber": "ACC8844221",
    "StudyDate": "20190813",
    "SeriesDate": "20190813",
    "ContentDate": "20190813",
    "InstitutionName": "Ebbingsworth Infirmary",
    "ReferringPhysicianName": "PARACELSUS^THEO",
    "OperatorsName": "OPERATRIX",
    "StationName": "STATION77",
    "PatientComments": "brother of Zebedee",
    "AdditionalPatientHistory": "seen by Paracelsus",
    "StudyDescription": "CT CHEST for Quillon, MRN-7751903",
    "SeriesDescription": "Sag T2 brain ZEBEDEE 13.08.2019",
    "ContrastBolusAgent": "Gadolinium by OPERATRIX",
    "BodyPartExamined": "QUILLON",
    "ViewPosition": "ZEBEDEE",
    "ImageType": ["ORIGINAL", "PRIMARY", "QUILLON"],
    "StudyInstanceUID": "1.2.3.4.5.77519",
    "SeriesInstanceUID": "1.2.3.4.5.77519.1",
    "SOPInstanceUID": "1.2.3.4.5.77519.1.1",
    "FrameOfReferenceUID": "1.2.3.4.5.77519.9",
}


def test_nothing_that_identifies_is_in_the_database(engine: Engine, folder: Path) -> None:
    folder = folder / "QUILLON"
    place = folder / "QUILLON_ZEBEDEE" / "19310407"
    place.mkdir(parents=True)
    tags = IDENTIFYING | {"PatientAge": "094Y", "PatientSex": "F", "SliceThickness": "2.5"}
    (place / "1.2.3.4.5.77519.1.1.dcm").write_bytes(instance(**tags))
    (place / "bad MRN-7751903.dcm").write_bytes(b"DICOM no more")
    said = [
        content("PNAME", "HAS OBS CONTEXT", PersonName="PARACELSUS^THEO"),
        content("TEXT", "HAS OBS CONTEXT", TextValue="Ebbingsworth Infirmary"),
        content("TEXT", TextValue="Mr. Quillon was seen on 08/13/2019. No mass."),
    ]
    study = {name: tags[name] for name in ("PatientName", "PatientID", "StudyDate", "StudyInstanceUID")}
    (place / "report.dcm").write_bytes(report(study.pop("StudyInstanceUID"), *said, **study))
    assert importers.run(engine, "dicom", folder).images == {"ok": 1}
    kept = everything(engine).lower()
    planted = "quillon zebedee paracelsus operatrix ebbingsworth station77 7751903 5550123 8844221 19310407 20190813"
    for word in [*planted.split(), "13.08.2019", "08/13/2019", "77519", "brother", "094y"]:
        assert word not in kept, word
    assert (data_folder() / dicom_tags.SALT).read_text().strip() not in kept
    assert "no mass" in kept and "sag t2 brain" in kept.replace("t2 sag", "sag t2")
    case = next(case for case in cases(engine) if case.images)
    assert (case.age, case.sex, case.exam) == ("over 89", "F", "CT CHEST") and case.patient_key


def test_keys_are_the_same_with_the_same_salt_which_only_its_owner_can_read(monkeypatch, tmp_path: Path) -> None:
    first = dicom_tags.Keys.here().of("study", "1.2.3")
    assert dicom_tags.Keys.here().of("study", "1.2.3") == first != dicom_tags.Keys.here().of("series", "1.2.3")
    assert (data_folder() / dicom_tags.SALT).stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv("RGC_DATA", str(tmp_path / "elsewhere"))
    assert dicom_tags.Keys.here().of("study", "1.2.3") != first
    (data_folder() / dicom_tags.SALT).write_text("")
    with pytest.raises(UserError, match=r"dicom\.salt: no salt of 64 hex digits"):
        dicom_tags.Keys.here()


def test_captions_are_of_an_instance_a_file_or_a_study_and_a_row_without_its_file_is_told(
    engine: Engine, folder: Path
) -> None:
    uids = {"SOPInstanceUID": "1.2.1", "StudyInstanceUID": "1.2.9"}
    (folder / "a.dcm").write_bytes(instance(**uids))
    (folder / "b.dcm").write_bytes(instance(StudyInstanceUID="1.2.9"))
    (folder / "c.dcm").write_bytes(instance())
    (folder / "prices.csv").write_text("what,price\nfilm,3\n")
    (folder / "captions.csv").write_text(
        "File,SOPInstanceUID,StudyInstanceUID,Caption\n"
        ",1.2.1,,Of the instance.\n,,1.2.9,Of the study.\nc.dcm,,,Seen by Dr. Quillon on 08/13/2019: no mass.\n"
        "gone.dcm,,,Nobody's.\nc.dcm,,,\n"
    )
    imported = importers.run(engine, "dicom", folder)
    assert imported.images == {"ok": 3} and imported.troubles == {"missing_file": 1, "bad_row": 1}
    captions = [image.caption or "" for case in cases(engine) for image in case.images]
    assert captions[:2] == ["Of the instance.", "Of the study."] and captions[2].endswith("no mass.")
    assert "Quillon" not in captions[2] and "2019" not in captions[2].replace("2019.", "")


def test_a_caption_file_without_its_columns_is_a_users_mistake(engine: Engine, folder: Path) -> None:
    (folder / "a.dcm").write_bytes(instance())
    (folder / "captions.csv").write_text("what,price\nfilm,3\n")
    with pytest.raises(UserError, match=r"needs a column caption, and one or more of SOPInstanceUID, file, Study"):
        importers.run(engine, "dicom", folder)


def test_whoever_has_the_files_and_the_salt_finds_the_file_of_a_place(engine: Engine, folder: Path) -> None:
    (folder / "torn.dcm").write_bytes(b"DICOM no more")
    with zipfile.ZipFile(folder / "disc.zip", "w") as archive:
        archive.writestr("a/1.dcm", instance())
    imported = importers.run(engine, "dicom", folder)
    (image,) = cases(engine)[0].images
    found = dicom.names(folder)
    assert (found[imported.examples["not_dicom"]], found[str(image.url)]) == ("torn.dcm", "disc.zip!/a/1.dcm")


def test_a_reports_text_is_the_caption_of_its_study(engine: Engine, folder: Path) -> None:
    nested = content("CONTAINER", ContentSequence=[content("TEXT", TextValue="Right pleural effusion.")])
    (folder / "z.dcm").write_bytes(report("1.2.9", content("TEXT", TextValue="CT of the chest."), nested))
    (folder / "a.dcm").write_bytes(instance(StudyInstanceUID="1.2.9"))
    (folder / "b.dcm").write_bytes(instance())
    assert importers.run(engine, "dicom", folder).images == {"ok": 2}
    first, other, told = cases(engine)
    assert first.images[0].caption == "CT of the chest.\nRight pleural effusion." == told.findings
    assert other.images[0].caption is None and told.key == first.key and not told.images


def test_tags_vote_for_labels(engine: Engine, folder: Path) -> None:
    (folder / "1.dcm").write_bytes(
        instance(Modality="CR", BodyPartExamined="CHEST", ViewPosition="PA", ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    )
    importers.run(engine, "dicom", folder)
    (image,) = cases(engine)[0].images
    found = labels.label(modality_raw=image.modality, plane_raw=None, caption=image.caption, dicom=image.dicom)
    assert (found.modality, found.region, found.plane, found.drop_reason) == ("DX", "chest", "pa", None)
    assert image.plane == "axial"


def test_planes_follow_the_directions_of_rows_and_columns() -> None:
    planes = {"1\\0\\0\\0\\1\\0": "axial", "1\\0\\0\\0\\0\\-1": "coronal", "0\\1\\0\\0\\0\\-1": "sagittal"}
    assert {told: dicom_tags.plane(told) for told in planes} == planes
    assert dicom_tags.plane("0.7\\0.7\\0\\0\\0\\-1") == "oblique"
    assert dicom_tags.plane("0\\0\\0\\0\\0\\0") is dicom_tags.plane("1\\2") is dicom_tags.plane(None) is None
