"""Rules of names: of patients and of those who treat them, and sentences that only say who read or keeps a study."""

import re

from corpus_db.cleaning.places import institution, may_name
from corpus_db.cleaning.rule import Caseless, Rule, Span, listed, lower, removed, words_of
from corpus_db.cleaning.sentences import without_sentences

_UPPER = r"[A-Z\u00c0-\u00d6\u00d8-\u00de]"
_LETTER = r"[\w'\u2019-]"
_SURNAME = (
    rf"(?:(?:van|von|de|der|da|di|del|la|le|el|al|bin|ten) ){{0,2}}(?:{_UPPER}'|Mc|Mac|O'|D'|St\. )"
    rf"?{_UPPER}{_LETTER}{{1,25}}+"
)
_GIVEN = rf"(?:{_UPPER}{_LETTER}{{1,20}}|{_UPPER}\.?)"
_FULL = rf"(?>(?:{_GIVEN} ){{0,3}}{_SURNAME})"
_DEGREE = (
    r"(?:M\.? ?D\.?|D\.? ?O\.?|Ph\.? ?D\.?|M\.?B\.?B\.?S\.?|MBBCh|MBChB|FRCR|FRCS|FRCP|FACR|FACS|FACC|"
    r"R\.?N\.?|PA-C|MPH|MSc|MS[I1-4V]+|RDMS|DDS|DMD|DPM|DVM|MC,? USA[FR]?|USAF|USN|USA MC|M\.?S\.?)"
)
_DEGREES = rf"(?:,? {_DEGREE}(?![\w]))(?:,? {_DEGREE}(?![\w])){{0,3}}"
_TITLE = (
    r"(?:Drs?|Prof|Professor|Mr|Mrs|Ms|Miss|Mister|Doctor|Capt|Captain|CPT|Col|COL|LTC|Lt\.? Col|LCDR|"
    r"CDR|Maj|MAJ|Sgt|SGT|SSG|PFC|"
    r"Lieutenant|LT|CPL|Sergeant|Herr|Frau|Se\u00f1ora?|Madame|Mme)"
)
_ROLE = (
    r"(?:[Pp]atient(?:'s)? (?:name[d]?(?: is| was)?:?|is|called)|(?<!\w )(?<!\w  )[Nn]ame:|[Pp]atient:|"
    r"[Pp]t:|[Rr]eferred by|[Rr]ead by|[Rr]eviewed by|[Ii]nterpreted by|[Dd]ictated by|[Ss]igned(?: by)"
    r"?:?|"
    r"[Aa]pproved by|[Ss]ubmitted by|[Rr]eported by|[Vv]erified by|[Ss]een by|[Ee]valuated by|"
    r"[Pp]erformed by|[Oo]perated (?:on )?by|[Ee]xamined by|[Aa]uthor(?:s|ed by)?:?|[Cc]ontributed by|"
    r"[Ww]ritten by|[Ee]dited by|[Rr]equested by|[Oo]rdered by|"
    r"(?:[Rr]adiologist|[Ss]urgeon|[Pp]hysician|[Aa]ttending|[Rr]esident|[Nn]urse|[Tt]echnologist|"
    r"[Nn]eurologist|[Oo]ncologist|[Dd]octor|[Pp]athologist|[Ff]ellow|[Cc]onsultant):?|[Cc]ontact|"
    r"[Ss]poke (?:with|to)|[Dd]iscussed with|[Nn]otified|[Cc]alled to|[Hh]is wife|[Hh]er husband|[Hh]is "
    r"mother|[Hh]er mother|[Hh]is father|[Hh]is son|[Hh]er son|[Hh]er daughter|[Mm]other,|[Ww]ife,|"
    r"[Hh]usband,|[Pp]atient,?|named)"
)
_FIRST_NAMES = listed(
    "James John Robert Michael William David Richard Joseph Thomas Charles Christopher Daniel Matthew "
    "Anthony Donald Mark Paul Steven Andrew Kenneth Joshua Kevin Brian George Edward Ronald Timothy "
    "Jason Jeffrey Ryan Jacob Gary Nicholas Eric Jonathan Stephen Larry Justin Scott Brandon Benjamin "
    "Samuel Frank Gregory Raymond Alexander Patrick Jack Dennis Jerry Tyler Aaron Jose Henry Adam "
    "Douglas Nathan Peter Zachary Kyle Walter Harold Jeremy Ethan Carl Keith Roger Gerald Christian "
    "Terry Sean Arthur Austin Noah Lawrence Jesse Joe Bryan Billy Jordan Albert Dylan Bruce Willie "
    "Gabriel Alan Juan Logan Wayne Ralph Roy Eugene Randy Vincent Russell Louis Philip Bobby Johnny "
    "Bradley "
    "Mary Patricia Jennifer Linda Elizabeth Barbara Susan Jessica Sarah Karen Lisa Nancy Betty Sandra "
    "Margaret Ashley Kimberly Emily Donna Michelle Carol Amanda Melissa Deborah Stephanie Rebecca "
    "Sharon Laura Cynthia Dorothy Amy Kathleen Angela Shirley Emma Brenda Pamela Nicole Anna Samantha "
    "Katherine Christine Helen Debra Rachel Carolyn Janet Maria Catherine Heather Diane Olivia Julie "
    "Joyce Victoria Ruth Virginia Lauren Kelly Christina Joan Evelyn Judith Andrea Hannah Megan Cheryl "
    "Jacqueline Martha Madison Teresa Gloria Sara Janice Ann Kathryn Abigail Sophia Frances Jean Alice "
    "Judy Isabella Julia Grace Amber Denise Danielle Marilyn Beverly Charlotte Natalie Theresa Diana "
    "Brittany Doris Kayla Alexis Lori Marie "
    "Ahmed Mohammed Muhammad Ali Fatima Hassan Omar Ibrahim Wei Ming Hiroshi Kenji Yuki Priya Raj Amit "
    "Sanjay Anil Sunil Rahul Carlos Luis Miguel Pedro Jorge Ana Carmen Rosa Sofia Pierre Jean-Pierre "
    "Hans Klaus Jurgen Wolfgang Giuseppe Giovanni Marco Luca Francesca Ivan Olga Sergei Natasha Dmitri "
    "Svetlana Lars Anders Ingrid Alma Tobias Orla Mina Henrike Ivo Don Debbie Katie Mike Tom Bob Bill "
    "Jim Steve Dave Dan Matt Chris Tony Ed Nick Greg Sam Ben"
)
_EPONYM_WORD = (
    r"(?i:syndromes?|disease|signs?|cysts?|nodes?|nodules?|murmur|pupils?|proteins?|tumou?rs?|ligament|"
    r"fractures?|lesions?|lymphoma|malformation|triad|criteria|classification|procedure|operation|"
    r"method|test|phenomenon|deformity|anomaly|law|palsy|line|angle|view|projection|cells?|bod(?:y|ies)|"
    r"reaction|Hospital|Medical|Clinic|University|Center|Centre|Institute|School|Foundation)"
)
_EPONYM_NOUN = rf"(?! {_EPONYM_WORD})"
_TITLED = re.compile(
    rf"(?:,? ?\b(?:by|from|with|to|per|for|of|courtesy of|and) )?(?:\b{_TITLE}\.? ){{1,3}}(?:med\.? )"
    rf"?{_FULL}(?:'s)?(?:{_DEGREES})?{_EPONYM_NOUN}(?: and (?:{_TITLE}\.? )(?:{_FULL}))?"
)
_DEGREED = re.compile(
    rf"(?:,? ?\b(?:by|from|with|to|per|of|and|&) )?(?<![\w.]){_GIVEN} (?:{_GIVEN} ){{0,2}}{_SURNAME}{_DEGREES}"
)
_ROLED = re.compile(rf"(?P<role>\b{_ROLE} )(?P<name>{_UPPER}{_LETTER}{{1,20}} (?:{_GIVEN} )?{_SURNAME}){_EPONYM_NOUN}")
_GIVEN_NAMED = re.compile(
    rf"{_UPPER}{_LETTER}{{1,14}} (?!{_EPONYM_WORD}\b|[A-Z]{{1,3}}\b)(?:{_UPPER}\.? )"
    rf"?{_SURNAME}{_EPONYM_NOUN}(?:'s)?(?![-/]\w)"
)
_HISTORICAL = re.compile(
    r"\b(?:described|reported|documented|discovered|introduced|popularized|popularised|proposed|"
    r"published|named (?:after|for|by)|coined|in (?:his|her|their) (?:book|paper|text)|attributed|"
    r"credited|pioneered|devised|developed by|classified|et al|eponym\w*|in 1[5-9]\d\d)\b",
    re.I,
)
_CAPITAL_WORDS = listed(
    "CT MR MRI Axial Coronal Sagittal Left Right Chest Head Abdomen History Exam Findings Diagnosis "
    "Discussion Presented Presents Status Post No The A An With Is Was Had Has "
    "Care Information Education Safety Management Population Selection Presentation Demographics Age "
    "Sex Education Position Positioning Hodgkin Wilms Crohn"
)


def _historical(text: str, span: Span) -> bool:
    """Whether a name is a describer's: an eponym's or a paper's person, who is no patient and treats none here."""
    near = max(span[0] - 120, 0)
    start = max(text.rfind("\n", near, span[0]), text.rfind(". ", near, span[0]), near)
    return bool(_HISTORICAL.search(text, start, min(len(text), span[1] + 60)))


def _name(text: str) -> str:
    if not may_name(text):
        return text
    found: list[Span] = []
    words, capitals = words_of(text), list(_CAPITAL.finditer(text))
    if not _TITLE_WORDS.isdisjoint(words) and _TITLE_AT.search(text):
        found.extend(match.span() for match in _TITLED.finditer(text))
    if not _DEGREE_WORDS.isdisjoint(words) and _DEGREE_AT.search(text):
        found.extend(match.span() for match in _DEGREED.finditer(text))
    for word in capitals:
        if word[0] in _FIRST_NAMES and (named := _GIVEN_NAMED.match(text, word.start())):
            lead = _LED_BY.search(text, max(0, word.start() - 9), word.start())
            found.append((lead.start() if lead else word.start(), named.end()))
    found = [span for span in found if not _historical(text, span)]
    for word in capitals:
        before = text[max(0, word.start() - 16) : word.start()].split()
        if before and before[-1].lower() in _ROLE_ENDS:
            match = _ROLED.search(text, max(0, word.start() - 40), word.end() + 60)
            if (
                match
                and match.start("name") == word.start()
                and _CAPITAL_WORDS.isdisjoint(match["name"].split())
                and not _historical(text, match.span())
            ):
                found.append(match.span("name"))
    return removed(text, _apart(found)) if found else text


# the words that titles and degrees are made of, dots and capitals apart
_TITLE_WORDS = listed(
    "dr drs prof professor mr mrs ms miss mister doctor capt captain cpt col ltc lt lcdr cdr maj sgt "
    "ssg pfc lieutenant cpl sergeant herr frau señor señora madame mme"
)
_DEGREE_WORDS = listed(
    "m md d do ph phd b mb mbbs mbbch mbchb frcr frcs frcp facr facs facc r rn pa mph msc ms rdms dds "
    "dmd dpm dvm mc usaf usn usa"
)
_TITLE_AT, _DEGREE_AT = re.compile(rf"{_TITLE}\.? "), re.compile(rf" {_DEGREE}(?!\w)")
# what is not before a word is looked for behind its first letter: a pattern that opens with a letter is found faster
_CAPITAL = re.compile(r"[A-Z](?:(?<![\w-][A-Z])[a-z]{1,14}(?= [A-Z])|(?<=\bJ)ean-Pierre\b)")
_LED_BY = re.compile(r",? ?\b(?:by|from|with|to|per|named|called|is|and) $")
_ROLE_ENDS = listed(
    "by is was named called name: patient: patient patient, pt: signed signed: author author: authors: "
    "radiologist radiologist: surgeon physician attending resident nurse technologist "
    "neurologist oncologist doctor pathologist fellow consultant contact with to notified wife husband "
    "mother father son daughter mother, wife, husband, name"
)


def _apart(found: list[Span]) -> list[Span]:
    """Spans in order, overlapping ones joined."""
    apart: list[Span] = []
    for start, end in sorted(found):
        if apart and start <= apart[-1][1]:
            apart[-1] = (apart[-1][0], max(end, apart[-1][1]))
        else:
            apart.append((start, end))
    return apart


_ATTRIBUTION = Caseless(
    r"[(\[]?(?:(?:the |this |these )?(?:images?|films?|figures?|cases?|photos?|photographs?|scans?|"
    r"stud(?:y|ies)|exam|radiographs?|reports?|pictures?|article|topic|factoid|material)[,:]? )?(?:is |"
    r"are |was |were |has been |kindly |originally |initially )*"
    r"(?:read|reviewed|interpreted|reported|submitted|approved|dictated|contributed|provided|prepared|"
    r"edited|signed|verified|authored|written|reading|transcribed|performed|obtained|acquired|presented|"
    r"taken|donated|supplied|shared|courtesy|case|author|reviewer|radiologist|attending|resident|"
    r"referring physician|electronically signed)"
    r"(?: (?:electronically|kindly|and \w+))?(?: (?:by|from|at|of|to))?:? ?"
    r"|(?:images?|films?|figures?|cases?|photos?|photographs?|scans?|radiographs?|pictures?) (?:from|at|of|by) "
    r"|(?:from|of) (?:the )?(?:files?|archives?|collection|teaching file|records|library)\b"
)
_SIGNED = re.compile(rf"(?=(?:{_TITLE}\.? ){{1,2}}{_FULL}(?:{_DEGREES})?,)|(?={_FULL}{_DEGREES}(?:[,.]|$| -))")
_WHO = re.compile(rf"\b{_TITLE}\.? {_UPPER}|{_UPPER}\w+{_DEGREES}")


def _attributes(sentence: str) -> bool:
    """Whether a sentence says no more than who read, gave or keeps the study."""
    if len(sentence) > 240:
        return False
    found = _ATTRIBUTION.match(sentence) or _SIGNED.match(sentence)
    if not found:
        return False
    rest = sentence[found.end() :]
    bare = _name(institution(rest))
    if bare == rest and not (_WHO.search(rest) or re.fullmatch(rf"(?:{_FULL})(?:,? (?:and|&) {_FULL})?[.)]*", rest)):
        return False
    return len(re.findall(r"\b[a-z]{3,}", bare)) <= 6 and not re.search(
        r"\b(?:shows?|demonstrat|reveal|seen|showing|with)\b", bare
    )


_GIVING = listed(
    "by from read reading at courtesy dr drs prof professor md m author authors radiologist resident "
    "attending file files archive archives collection library do phd ph physician"
)
# on lower-case text
_GIVES = re.compile(
    r"\b(?:read|reading|reviewed|reviewer|interpreted|reported|submitted|approved|dictated|contributed|"
    r"provided|prepared|edited|signed|verified|author\w*|written|transcribed|performed|obtained|"
    r"acquired|presented|"
    r"taken|donated|supplied|shared|courtesy|radiologist|attending|resident|physician) ?(?:by|from|at|"
    r"of|to|:|and|kindly|electronically)|\b(?:images?|films?|figures?|cases?|photos?|photographs?|"
    r"scans?|radiographs?|pictures?) (?:from|at|by) |"
    r"\b(?:from|of) (?:the )?(?:files?|archives?|collection|teaching|records|library)|\b(?:dr|prof|"
    r"professor|md|m\.d|do|phd|ph\.d)\b|^(?:case|author|reviewer|radiologist|attending|resident)"
)


def _attribution(text: str) -> str:
    if not may_name(text) or _GIVING.isdisjoint(words_of(text)):
        return text
    kept = without_sentences(text, _attributes)
    return kept if kept != text and _GIVES.search(lower(text)) else text


NAME = Rule("deid_name", "names of patients and of those who treat them", "Dr. Jane Roe saw a cyst.", _name)
ATTRIBUTION = Rule(
    "deid_attribution", "who read or keeps a study is not in it", "A cyst. Read by Dr. Jane Roe.", _attribution
)
