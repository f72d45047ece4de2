"""Rules of where a caption comes from: addresses, citations, credits, and the scanner's TR and TE."""

import re

from corpus_db.cleaning.rule import Caseless, Rule, Span, has, has_digit, listed, removed, without, words_of
from corpus_db.cleaning.sentences import spans, without_sentences

_ADDRESS = re.compile(
    r"(?:\(\s?)?(?:\b(?:source|from|see|see also|available (?:at|from|online at)|retrieved from|"
    r"accessed (?:at|from)|link|url|"
    r"adapted from|at|visit)[: ]{1,2})?(?<![\w/])(?:https?://|ftp://|www\.)[^\s()<>]*(?:\([^\s()<>]*\)[^\s()<>]*)?"
    r"(?:,? (?:last )?accessed (?:on |at )?[\w ,]{4,24}\d{4})?(?:\s?\))?",
    re.I,
)


def _url(text: str) -> str:
    if not has(text, "http", "www.", "ftp:"):
        return text
    found = []
    for match in _ADDRESS.finditer(text):
        address = match[0]
        end = match.end() - (len(address) - len(address.rstrip(".,;:")))
        unopened = address.endswith(")") and not address.startswith("(") and address.count("(") < address.count(")")
        start = match.start() + (1 if address.startswith("(") and not address.rstrip(".,;:").endswith(")") else 0)
        found.append((start, end - 1 if unopened else end))
    return removed(text, found)


_IDENTIFIER = Caseless(
    r"[(\[]?\b(?:(?:PMID|PMCID|PubMed(?: ID)?|PubMed Central(?: ID)?)[:#]? ?(?:PMC)?\d{4,9}"
    r"|PMC\d{5,8}|(?:doi[: ] ?)?10\.\d{4,9}/[^\s()<>\]]{1,200}(?<![.,;]))[)\]]?"
)
_YEAR = r"(?:19|20)\d\d"
_YEARS = re.compile(_YEAR)
_VOLUME = re.compile(
    rf"\b{_YEAR}(?: (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z-]{{0,10}}(?: \d{{1,2}})?)?"
    r"[;,] ?(?:vol\.? ?)?\d{1,4}(?: ?\(\d{1,4}(?:-\d{1,4})?(?: ?(?:Pt|Suppl) ?\d{0,2})?\))? ?[:;] "
    r"?(?:pp?\.? ?)?[A-Z]?\d{1,6}(?: ?- ?[A-Z]?\d{1,6})?",
)
_ET_AL = re.compile(
    rf"[(\[](?:(?:see|from|adapted from|modified from|after) )?[A-Z][\w'-]{{1,30}}(?:,? (?:[A-Z]\.? ?)"
    rf"{{1,3}})?(?: (?:and|&) [A-Z][\w'-]{{1,30}}|,? et al)\.?"
    rf"(?:,? ?\(?{_YEAR}[a-z]?\)?)?(?:,? \[?\d{{1,3}}\]?)?[)\]]"
    rf"|(?:,? (?:according to|as (?:described|identified|reported|proposed) by|by|of|per|see))? "
    rf"?\b[A-Z][\w'-]{{1,30}} et al\.?,? ?\(?{_YEAR}[a-z]?\)?(?: \d{{1,3}}(?=\.|$))?"
)
_BRACKETED = re.compile(r" ?\[\d{1,3}(?: ?[,-] ?\d{1,3}){0,12}\]")
_SUPERSCRIPT = re.compile(r"(?<=[a-z)]\.)\d{1,2}(?:[,-]\d{1,2}){0,6}\.?$")
# a book: its edition or publisher, with a year or a page
_BOOK = Caseless(
    r"(?=[^\n]*\b(?:edition|edn|\d(?:st|nd|rd|th) ed\.|publish\w*|press|williams (?:and|&) wilkins|"
    r"elsevier|springer|saunders|mosby|mcgraw|thieme|wiley|churchill|philadelphia|baltimore)\b)"
    r"(?=[^\n]*\b(?:(?:19|20)\d\d\b|(?:pg|pp?|pages?)\.? ?\d))(?=[^\n]*,)"
)
_BOOK_WORDS = listed(
    "edition edn ed press williams elsevier springer saunders mosby mcgraw thieme wiley churchill philadelphia "
    "baltimore"
)
_BOOK_PARTS = (
    "edition",
    "press",
    "publish",
    "wilkins",
    "elsevier",
    "springer",
    "saunders",
    "mosby",
    "mcgraw",
    "thieme",
    "wiley",
)
_SHOWS = Caseless(r"\b(?:shows?|showing|demonstrat\w+|reveal\w*|seen|lesion|mass|images?)\b")
_REFERENCES = re.compile(r"^(?:references?|refs?)\b ?[:.]", re.I)


def _citation_end(text: str, sentence: Span) -> Span | None:
    """The part of a sentence that is a citation: its bracket, or from its start."""
    volume = _VOLUME.search(text, *sentence)
    if not volume:
        return None
    for opening, closing in ("()", "[]"):
        start = text.rfind(opening, sentence[0], volume.start())
        end = text.find(closing, volume.end(), sentence[1])
        if start >= 0 and end >= 0 and text.find(closing, start, volume.start()) < 0:
            return start, end + 1
    return sentence


def _may_be_of_a_book(text: str) -> bool:
    """Whether `_BOOK` may match in `text`; cheap, and errs on the side of yes."""
    if "," not in text or not has_digit(text):
        return False
    if text.isascii() and _BOOK_WORDS.isdisjoint(words_of(text)) and not has(text, "publish"):
        return False
    return has(text, *_BOOK_PARTS)


def _citation(text: str) -> str:
    if has_digit(text) and has(text, "pmid", "pubmed", "pmc", "doi", "10."):
        text = without(_IDENTIFIER, text)
    if (";" in text or ":" in text) and has_digit(text) and _YEARS.search(text):
        found = [part for part in (_citation_end(text, span) for span in spans(text)) if part]
        if found:
            text = removed(text, found)
    if "et al" in text and (" et al" in text or ("(" in text and " and " in text)):
        text = without(_ET_AL, text)
    if "[" in text:
        text = without(_BRACKETED, text)
    if _may_be_of_a_book(text):
        text = without_sentences(text, lambda sentence: _BOOK.match(sentence) and not _SHOWS.search(sentence))
    if has(text, "ref"):
        text = without_sentences(text, _REFERENCES.match)
    return _SUPERSCRIPT.sub("", text) if text[-2:].strip(".").isdigit() else text


_CREDIT = (
    r"(?:(?:(?:the |this |these |all )?(?:images?|figures?|photos?|photographs?|pictures?|case|films?|"
    r"radiographs?|scans?|videos?|"
    r"illustrations?|studies|study|x-rays?|labels?)[,:]? (?:is |are |was |were |has been |have been )?(?:kindly )?"
    r"(?:courtesy|provided by|supplied by|contributed by|donated by|(?:re)?printed|reproduced|used with|"
    r"adapted|credits?\b|"
    r"taken (?:with permission )?from|from wikipedia|by permission|sources?\b(?: ?:|$)))"
    r"|(?:with |by )?(?:the )?(?:kind )?(?:courtesy|permission|courtesies) (?:of|from|by|:)|courtesy:|"
    r"(?:photo|image|picture|figure) credits?\b"
    r"|(?:re-?printed|reproduced|printed|adapted|modified|used|taken|published|redrawn|republished)"
    r"(?:,? (?:and|or) (?:modified|adapted))? "
    r"(?:here )?(?:with|by|under) (?:the )?(?:kind |written )?(?:permission|courtesy|consent|a? ?licen[cs]e)"
    r"|(?:re-?printed|reproduced|adapted|modified|redrawn|republished|published) (?:from|in|after) (?:the )?[A-Z]"
    r"|(?:with|by) (?:kind )?permission\b|thanks to|we thank|special thanks|acknowledge?ments?:?|credits?:|image credit"
    r"|\bsource: |(?:all )?(?:rights reserved|copyright)|\(c\) (?=\d{4})|\u00a9|&copy;|from wikipedia|"
    r"from (?:the )?teaching files? of)"
)
_CREDITED = Caseless(_CREDIT)
_BRACKET = re.compile(r" ?[(\[][^()\[\]]{1,300}(?:\([^()]{0,60}\)[^()\[\]]{0,200})?[)\]]")
_TAIL = re.compile(rf"(?:[,;:-] |(?<=\w) (?=courtesy|\u00a9|\(c\))){_CREDIT}", re.I)
_CREDIT_WORDS = listed(
    "courtesy courtesies permission printed reprinted republished reproduced adapted modified redrawn "
    "credit credits copyright thank thanks acknowledgement acknowledgment acknowledgements "
    "acknowledgments provided supplied contributed donated published wikipedia rights source sources "
    "taken files file acknowlegment copyrighted acknowledge"
)


def _credit(text: str) -> str:
    if _CREDIT_WORDS.isdisjoint(words_of(text)) and "\u00a9" not in text and "(c) " not in text:
        return text
    brackets = [found.span() for found in _BRACKET.finditer(text) if _CREDITED.search(found[0])]
    text = removed(text, brackets)
    text = without_sentences(text, _CREDITED.match)
    tails = []
    for start, end in spans(text):
        tail = _TAIL.search(text, start, end)
        if tail:
            stop = end - (len(text[start:end]) - len(text[start:end].rstrip(" .")))
            tails.append((tail.start(), stop))
    return removed(text, tails) if tails else text


_NUMBER = r"\d{1,6}(?:[.,]\d{1,3})?"
_UNIT = r"(?: ?(?:milliseconds?|msecs?|ms|secs?|s)\b)?"
_NAME = r"(?:TR|TE|TI|repetition time|echo time|inversion time)"
_PARAMETER = re.compile(
    rf"(?:[,;] ?)?(?:\b(?:with|using) (?:a )?)?\b{_NAME}(?: ?\((?:TR|TE|TI)\))?(?: ?[/,] ?{_NAME})*(?: "
    rf"?(?:of|was|is|[:;=,-]))? ?{_NUMBER}{_UNIT}"
    rf"(?: ?[/,] ?(?:{_NAME} ?[:=-]? ?)?{_NUMBER}(?!\d* ?(?:mm|cm|T)\b){_UNIT})*(?:(?:[,;/] ?| and )"
    rf"{_NAME}(?: ?\((?:TR|TE|TI)\))? ?(?:of|[:=-])? ?{_NUMBER}{_UNIT})*",
    re.I,
)
# (600/12) behind the name of a sequence
_BARE_PARAMETERS = re.compile(
    r"(?P<sequence>(?:weighted|echo|FLAIR|STIR|T[12]\*?W?I?|FSE|TSE)(?: (?:MRI?|images?|imaging|"
    r"sequences?|scans?|section)){0,3})"
    r" ?\(\d{2,5}(?:\.\d)? ?/ ?\d{1,3}(?:\.\d)?(?: ?/ ?\d{1,4})?(?: ?ms(?:ec)?)?\)"
)
_MATRIX = re.compile(r"^ ?[/x\u00d7\d ]*$")
_HOLLOW = re.compile(r" ?[(\[][\s,;:/.&-]{0,20}(?:and)?[\s,;]{0,4}[)\]]")


def _sequence(text: str) -> str:
    if not has_digit(text):
        return text
    if "/" in text and "(" in text:
        text = _BARE_PARAMETERS.sub(r"\g<sequence>", text)
    if not ("TR" in text or "TE" in text or "TI" in text or "etition time" in text or "cho time" in text):
        return text
    found: list[Span] = []
    for match in _PARAMETER.finditer(text):
        start, end = match.span()
        opening = text.rfind("(", max(0, start - 4), start + 1)
        closing = text.find(")", end, end + 24)
        if opening >= 0 and closing >= 0 and _MATRIX.match(text[end:closing]):  # with nothing else but the matrix
            start, end = opening - (text[opening - 1 : opening] == " "), closing + 1
        found.append((start, end))
    return _HOLLOW.sub("", removed(text, found)) if found else text


URL = Rule("url", "an address is not in the image", "A cyst. http://www.example.org/cases/1", _url)
CITATION = Rule("citation", "neither is what was published of it", "A cyst. PMID: 16775270", _citation)
CREDIT = Rule(
    "credit", "thanks, permissions and copyright are about the image", "A cyst (courtesy of J. Roe).", _credit
)
SEQUENCE = Rule("sequence_parameters", "TR and TE are the scanner's", "Axial T1 (TR 500, TE 20) image", _sequence)
