"""Cut a radiology report into its sections, as the public parser of MIMIC-CXR's reports does.

A heading is capitals and a colon at the start of an indented line. Headings of one meaning have one name here, and of
several sections of one name the last counts. The public parser's hand-made tables for single reports are not used.
"""

import re
from difflib import get_close_matches

IMPRESSION, FINDINGS, COMPARISON = "impression", "findings", "comparison"
INDICATION, HISTORY, LAST_PARAGRAPH = "indication", "history", "last_paragraph"
CONCLUDING = (IMPRESSION, FINDINGS, LAST_PARAGRAPH, COMPARISON)  # some write all that they see under "comparison"

_HEADING = re.compile(r"\n ([A-Z ()/,-]+):\s")
_PARAGRAPH = "\n \n"  # MIMIC-CXR indents the empty line, too
_NAMES = {
    "conclusion": IMPRESSION,
    "chest, two views": FINDINGS,
    "reference exam": COMPARISON,
    "clinical history": HISTORY,
    "clinical information": HISTORY,
    "pfi": HISTORY,
    "clinical indication": INDICATION,
    "reason for exam": INDICATION,
    "reason for examination": INDICATION,
    "exam": "examination",
    "examination": "examination",
    "type of examination": "examination",
    "recommendation": "recommendations",
    "recommendation(s)": "recommendations",
    "wetread": "wet read",
    "findings and impression": IMPRESSION,
    "findings/impression": IMPRESSION,
    "findings/ impression": IMPRESSION,
}
_MAIN = (IMPRESSION, FINDINGS, HISTORY, COMPARISON, "addendum")  # in the order in which a heading is searched for them
_OFTEN_MISSPELT = (IMPRESSION, FINDINGS, COMPARISON, INDICATION, "conclusion")
_VIEWS = re.compile(  # what was looked at, written over what was seen
    "chest|portable|(pa|ap) and lat|lateral and (pa|ap)|frontal (and|view|upright|semi-upright)|two views|one view"
    "|(pa|ap|lateral) view|bone window|ribs"
)


def sections(report: str) -> dict[str, str]:
    """The sections of a report by name; "preamble" is what stands above the first heading."""
    parts = [(_name(heading), text) for heading, text in _parts(report)]
    parts = [(name, text) for name, text in parts if text.strip() or name not in (IMPRESSION, FINDINGS)]
    if parts and not {IMPRESSION, FINDINGS} & {name for name, _ in parts}:
        name, text = parts.pop()
        first, more, rest = text.partition(_PARAGRAPH)
        parts += [(name, first), (LAST_PARAGRAPH, rest)] if more else [(name, text)]
    return {name: text.strip() for name, text in parts}


def conclusion(found: dict[str, str]) -> str | None:
    """What a report comes to: its impression, else its findings, else its last paragraph, else its comparison."""
    return next((found[name] for name in CONCLUDING if found.get(name)), None)


def _parts(report: str) -> list[tuple[str, str]]:
    """(heading, text) of each part of a report, in order."""
    parts, heading, begin = [], "preamble", 0
    found = _HEADING.search(report)
    if found is None:
        return [("full report", report)]
    while found:
        parts.append((heading, report[begin : found.start()]))
        heading, begin = found[1], found.end()
        # a heading right below a heading is a line of the text under it
        found = _HEADING.search(report, max(begin, report.find("\n", begin)))
    return [*parts, (heading, report[begin:])]


def _name(heading: str) -> str:
    """The name of a section by its heading: as it is known, as a part of it, as views, or as misspelt."""
    said = heading.lower().strip()
    if said in _NAMES:
        return _NAMES[said]
    if main := next((name for name in _MAIN if name in said), None):
        return main
    if _VIEWS.search(said):
        return FINDINGS
    meant = get_close_matches(said, _OFTEN_MISSPELT, 1, 0.8)
    return _NAMES.get(meant[0], meant[0]) if meant else said
