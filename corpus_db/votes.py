"""What a voter says of an image's label."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Vote:
    """One voter's value of one field."""

    field: str  # modality, plane, region, laterality; sequence, contrast, technique, montage
    value: str
    voter: str  # person, dicom, upstream, text, pixels
    evidence: str  # the words, tag or measure that it was read from
    confidence: float  # 0 to 1
