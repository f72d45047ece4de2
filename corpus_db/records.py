"""What a source says of a case, in terms that all sources share: readers make these of raw JSON for the build."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ImageRecord:
    """One image of a case, as its source describes it."""

    key: str  # the source's id of the image
    case_key: str | None  # the case that owns it, where it says so
    name: str  # synpic54610
    url: str | None  # as given
    caption: str | None
    modality: str | None  # the source's own words
    plane: str | None
    acr_code: str | None = None
    figure_part: str | None = None
    credit: str | None = None
    withheld: str | None = None  # "deleted" or "hidden": not to be fetched
    licence: str | None = None  # where it is the image's own
    dicom: Mapping[str, str] | None = None  # tags by keyword, those that are votes for labels


@dataclass(frozen=True)
class CaseRecord:
    """One case with its images."""

    key: str
    topic_key: str | None = None
    title: str | None = None
    history: str | None = None
    exam: str | None = None
    findings: str | None = None
    impression: str | None = None
    ddx: str | None = None
    diagnosis: str | None = None
    diagnosis_by: str | None = None
    treatment: str | None = None
    discussion: str | None = None
    age: str | None = None
    sex: str | None = None
    credit: str | None = None
    patient_key: str | None = None  # where the source tells patients apart
    licence: str | None = None  # where it is the case's own
    split: str | None = None  # train, val or test, where the source's own split is to be kept
    images: tuple[ImageRecord, ...] = field(default=())


@dataclass(frozen=True)
class TopicRecord:
    """One topic, shared by cases."""

    key: str
    title: str | None = None
    location: str | None = None


# (kind, parsed body of a raw_record) -> what it describes; None where the build has no use for it (a list, an error)
Reader = Callable[[str, object], CaseRecord | TopicRecord | None]
Readers = Mapping[str, Reader]  # by source.shape
