"""Rules of time: dates of care go, ages over 89 are told as that."""

import re

from corpus_db.cleaning.rule import Caseless, Rule, has, has_digit, listed, without, words_of

_MONTH = (
    r"(?:January|February|March|April|May|June|July|August|September|October|November|December|Jan|Feb|"
    r"Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\b\.?"
)
_YEAR = r"(?:19|20)\d\d(?!\d)"
_DAY = r"(?:[0-3]?\d(?:st|nd|rd|th)?)"
_DATED = (
    rf"(?:{_DAY}(?: of)?[ -]{_MONTH},?[ -](?:{_YEAR}|'\d\d)|{_MONTH}[ -]{_DAY}(?:(?: ?-| to| and) "
    rf"?{_DAY})?,? ?{_YEAR}|{_DAY} {_MONTH}(?=[ ,.;)]|$)(?! \d)"
    rf"|{_MONTH},? ?(?:of )?{_YEAR}|(?:19|20)\d\d[-/.](?:0?[1-9]|1[0-2])[-/.](?:[0-3]?\d)(?!\d)|(?:19|20)"
    rf"\d\d {_MONTH}(?: {_DAY})?"
    r"|(?:0?[1-9]|[12]\d|3[01])/(?:0?[1-9]|[12]\d|3[01])/(?:(?:19|20)\d\d|\d\d)(?![\d/]|\.\d)|"
    r"(?:0?[1-9]|[12]\d|3[01])[.-](?:0?[1-9]|[12]\d|3[01])[.-](?:19|20)\d\d(?!\d)"
    rf"|(?:0?[1-9]|1[0-2])[/-]{_YEAR}|(?:spring|summer|autumn|fall|winter|early|mid|late)[ -](?:of )"
    rf"?(?:{_MONTH} )?{_YEAR})"
)
_DATE = Caseless(
    r"(?:,? ?\((?:(?:performed|dated|taken|obtained|acquired|done|scanned|imaged|on|in|from|date:?) ?){0,2}(?<![\w/.])"
    + f"(?>{_DATED})"
    + r"\)"
    r"|(?:,? ?\b(?:dated|date of birth|dob|d\.o\.b\.|date of (?:study|exam|examination|service|"
    r"admission|discharge|death|scan|surgery)|date|born)(?: on| is| was)?:? ?|,? \b(?:(?:on|in|since|"
    r"from|of|until|till|before|after|by|as of|around|during)(?: (?:the|early|mid|late))? )|,? ?)"
    r"(?<![\w/.])" + f"(?>{_DATED})" + r"(?:,? (?:at )?\d{1,2}:\d\d(?: ?[ap]\.?m\.?)?)?)(?! ?[;:] ?\d)(?!/)"
)
_ON_DAY = re.compile(rf",? \bon (?:the )?(?:{_MONTH} {_DAY}|{_DAY} (?:of )?{_MONTH})(?![\w/])(?! ?[;:] ?\d)")
_NUMBERS = re.compile(r"\d(?:(?:(?<=1)9|(?<=2)0)\d\d|[/.-]\d\d?[/.-]\d\d)")
_MONTH_WORDS = listed(
    "jan january feb february mar march apr april may jun june jul july aug august sep sept september "
    "oct october nov november dec december"
)


def _date(text: str) -> str:
    if has_digit(text) and (not _MONTH_WORDS.isdisjoint(words_of(text)) or _NUMBERS.search(text)):
        text = without(_DATE, text)
        text = without(_ON_DAY, text) if has(text, "on ") else text
    return text


_OLD = r"(?:9\d|1[0-2]\d)"
# what the patterns of ages need, each found in a fraction of their time
_OLD_Y = re.compile(rf"{_OLD}[ -]?[yY]")
_AGE_OLD = Caseless(rf"age[ds:=]?(?: of| is| was)?:? ?{_OLD}")
_NOUN = (
    r"(?:wom[ae]n|m[ae]n|females?|males?|patients?|gentlem[ae]n|lady|ladies|person|individual|veteran|"
    r"farmer|worker|smoker|mother|father|grandmother|grandfather|widow|widower|nun|retiree|resident)"
)
_YEARS_OLD = (
    r"(?:[ -]?(?:years?|yrs?\.?|y)[ -]?(?:/ ?)?(?:olds?|o|of age)\b\.?| ?y\.?/?o\.?(?=[ ,.]|$)|[ -]year\b(?= ))"
)
_OLD_ONE = re.compile(
    rf"(?P<article>\b[Aa]n? )?(?<![\w.,/-]){_OLD}{_YEARS_OLD},? (?P<words>(?:[a-z][\w-]{{2,20}} |White |"
    rf"Caucasian |African[ -]American |Hispanic |Asian |Black |Japanese |Chinese |Indian ){{0,3}}?)"
    rf"(?P<noun>{_NOUN})\b",
    re.I,
)
_OLD_YEARS = re.compile(rf"(?P<article>\b[Aa]n? )?(?<![\w.,/-]){_OLD}{_YEARS_OLD}(?P<adjective>(?= [a-z]))?", re.I)
_AGED = re.compile(
    rf"(?<!by )(?<!after )(?<!before )(?<!over )(?<!until )\b(?P<aged>aged?|age[:=]|age (?:of|is|was)|"
    rf"ages)(?P<space>:? ?){_OLD}(?: ?(?:years?|yrs?|y)\b)?(?! ?(?:days?|weeks?|months?|mm|cm|-|/|%|\.\d)"
    rf")(?! to)",
    re.I,
)
OVER_89 = "over 89"


def _old_one(found: re.Match[str]) -> str:
    words, article = found["words"], found["article"] or ""
    if article:
        vowel = (words or found["noun"])[0].lower() in "aeiou"
        article = ("A" if article[0] == "A" else "a") + ("n " if vowel else " ")
    return f"{article}{words}{found['noun']} {OVER_89}"


def _old_years(found: re.Match[str]) -> str:
    article = found["article"]
    if article:
        return f"{article[0]} patient {OVER_89}"
    return OVER_89


def _age(text: str) -> str:
    if not (has_digit(text) and ("9" in text or "10" in text or "11" in text or "12" in text)):
        return text
    if _OLD_Y.search(text):
        text = _OLD_ONE.sub(_old_one, text)
        text = _OLD_YEARS.sub(_old_years, text)
    if _AGE_OLD.search(text):
        text = _AGED.sub(lambda found: f"{found['aged']}{found['space']}{OVER_89}", text)
    return text


DATE = Rule(
    "deid_date", "dates of a person's care narrow it down; intervals stay", "CT of 3 March 2008 shows a cyst.", _date
)
AGE = Rule("deid_age", "ages over 89 are few", "CT of a 93-year-old woman.", _age)
