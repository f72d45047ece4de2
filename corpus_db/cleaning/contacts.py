"""Rules of what reaches or numbers a person: e-mail addresses, telephone and record numbers."""

import re

from corpus_db.cleaning.rule import Caseless, Rule, has, has_digit, removed, without

_EMAIL = Caseless(
    r"(?:\b(?:e-?mail|contact|write to|mail to|mailto|reach \w{1,10} at)(?: (?:at|address|is|me|us))"
    r"{0,2}[: ]{1,3})?(?<![\w.+%-])[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,5}"
)


def _email(text: str) -> str:
    return without(_EMAIL, text) if "@" in text else text


_DIGIT_GROUPS = (
    r"(?:\((?!(?:19|20)\d\d\))\d{2,5}\) ?\d{3}[ .-]\d{3,4}|\d{3}[ .-]\d{3}[ .-]\d{4}|\d{3}-\d{4}(?= "
    r"?(?:ext|x)\b)|\d{4,5} \d{3} \d{3,4}|\d{3,5} \d{6,7})"
)
_PHONE = Caseless(
    r"(?:\b(?:(?:tele)?phone|tel|fax|mobile|cell|pager|beeper|call(?:ed)?|contact|reach \w{1,10} at|at|"
    r"ext|extension|number)(?: (?:number|no|no\.|at|on|is|him|her|us|them)){0,3}[.:#]{0,2} ?)?"
    rf"(?<![\w./-])(?:\+?\d{{1,3}}[ .-])?{_DIGIT_GROUPS}(?![\w/]|-\d)(?:,? ?(?:ext|x|extension)\.? ?\d{{1,6}})?"
    r"|(?<![\w./-])\+\d{1,3}(?:[ .()-]{1,2}\d{1,5}){2,6}(?!\w)"
    r"|\b(?:tel|(?:tele)?phone|fax|pager|beeper|mobile|cell|ext|extension)(?: (?:number|no|no\.|is|#))"
    r"{0,2}[.:#]{0,2} ?\+?\d[\d .()-]{3,20}\d"
)
_CITED = re.compile(r"(?:pp?|pages?|;)\.? ?$", re.I)


_REACHES = re.compile(r"\d(?:[ .()-]{0,2}\d){4}")  # five digits close together


def _phone(text: str) -> str:
    if not (has_digit(text) and _REACHES.search(text)):
        return text
    found = [
        match.span()
        for match in _PHONE.finditer(text)
        if not _CITED.search(text, max(0, match.start() - 8), match.start())
    ]
    return removed(text, found) if found else text


_RECORD = Caseless(
    r"(?:\b(?:with|under|by|the) )?\b(?:MRN|M\.R\.N\.?|PMRN|URN|UHID|SSN|NHS (?:no|number)|NHS|social "
    r"security(?: number| no\.?)?|(?:(?:medical|hospital|patient|clinic|chart|health|case|study|"
    r"radiology|unit) )?(?:record|chart|file|folder)(?: (?:number|num|no|id|#)\.?)"
    r"|(?:hospital|patient|accession|clinic|account|encounter|visit|insurance|policy|member|"
    r"identification|registration|requisition|exam|episode|case record|unit)(?: (?:number|num|no|id|"
    r"identifier|#)\.?|#)|patient (?:id|identifier)|accession|med(?:ical)? rec(?:ord)?\.? (?:no|num|"
    r"number|#)\.?|PID|DOB id)"
    r"(?: (?:was|is|of|no|number))?[.:#]{0,2} ?#? ?(?=[\w-]{0,6}\d)[A-Z]{0,4}[ -]?\d[\w/-]{2,20}(?: \d{2,4}){0,3}"
)
_SSN = re.compile(r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])")


_NUMBERED = re.compile(r"\d[\d/-]{2}|\d[ -]\d{3}")


def _record(text: str) -> str:
    if not (has_digit(text) and _NUMBERED.search(text)):
        return text
    if has(
        text,
        "mrn",
        "m.r.n",
        "urn",
        "uhid",
        "ssn",
        "nhs",
        "social",
        "record",
        "chart",
        "file",
        "folder",
        "number",
        " no",
        " id",
        "id:",
        "#",
        "accession",
        "rec",
        "pid",
        "identi",
    ):
        text = without(_RECORD, text)
    return without(_SSN, text) if "-" in text else text


EMAIL = Rule("deid_email", "an address names a person", "Write to j.roe@example.org for films.", _email)
RECORD = Rule("deid_record", "a record number names a patient", "MRN: 00412345. A cyst.", _record)
PHONE = Rule("deid_phone", "a number reaches a person", "Call (202) 555-0143 for films.", _phone)
