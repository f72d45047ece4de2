"""Take out of a text what could name a person: names, dates, contacts, record numbers, places of care, ages over 89."""

import re
from dataclasses import dataclass

from corpus_db.cleaning import contacts, dates, persons, places
from corpus_db.cleaning.rule import Change, Rule


@dataclass(frozen=True)
class Deidentified:
    """A text without what identifies, and what each rule took out."""

    text: str
    edits: tuple[Change, ...]


# Numbers before dates, which would take parts of them; who read a study before the names that tell it.
RULES: tuple[Rule, ...] = (
    contacts.EMAIL,
    contacts.RECORD,
    contacts.PHONE,
    persons.ATTRIBUTION,
    places.INSTITUTION,
    persons.NAME,
    dates.DATE,
    dates.AGE,
)


def deidentify(text: str) -> Deidentified:
    """`text` (a caption or a case's long text, paragraphs kept) without names, dates, contacts, record numbers,
    places of care and ages over 89, and what each rule took out of it. Never raises; years alone stay."""
    edits = []
    for rule in RULES:
        after = rule.apply(text)
        if after != text:
            edits.append(Change(rule.name, text, after))
            text = after
    return Deidentified(text, tuple(edits))


_AGE_IN_YEARS = re.compile(
    r"\s*(?:age:?\s*)?>?\s*(\d{1,4})(?:\.\d+)?\s*-?\s*(?:y|yrs?|years?|yo|y/o|a)?\.?[\s-]*(?:old|o)?\s*$", re.I
)
_DICOM_AGE = re.compile(r"\s*(\d{3})Y\s*$")
_OLDEST = 89


def deidentify_age(age: str | None) -> str | None:
    """A case's age as its source wrote it ("73", "94 y", "094Y", "6 months"), with ages over 89 as "over 89"."""
    found = age and (_DICOM_AGE.match(age) or _AGE_IN_YEARS.match(age))
    return dates.OVER_89 if found and int(found[1]) > _OLDEST else age
