import itertools
import re
from collections import Counter

import pytest

from rgc.phantom import Recipe
from rgc.phantom.noise import DROPPING, RATES
from rgc.phantom.noise_words import PHRASES
from rgc.phantom.plan import plan_sample
from rgc.phantom.wordings import WORDS


def images(**recipe):
    return [image for case in plan_sample(Recipe(**recipe)) for image in case.images]


@pytest.fixture(scope="module")
def many() -> list:
    return images(cases=1600)


@pytest.mark.parametrize("wordings", ["development", "measure"])
def test_clean_captions_obey_the_policy(wordings: str) -> None:
    for image in images(cases=250, wordings=wordings, noise="none"):
        clean = image.words.clean
        assert clean == image.words.served
        assert image.words.kinds == [] and image.words.drop_reason is None
        assert clean.endswith(".") and clean.isascii() and clean[0].isupper()
        assert "  " not in clean and not re.search(r"[{}\n\t<>&\\?]| [,.]|\.\.", clean), clean
        assert not re.search(r"\ba [aeio]|\ban [^aeiouAEIOMX]", clean), clean


def test_noise_levels_share_the_clean_caption(many: list) -> None:
    for noisy, plain in zip(many[:600], images(cases=1600, noise="none")[:600], strict=True):
        if noisy.words.clean is not None and "age_over_89" not in noisy.words.kinds:
            assert noisy.words.clean == plain.words.served


def test_rates_are_medpixs(many: list) -> None:
    served = [image.words.served for image in many]

    def share(has) -> float:
        return sum(map(bool, map(has, served))) / len(served)

    assert share(lambda c: "\n" in c) == pytest.approx(182 / 2050, abs=0.03)
    assert share(lambda c: "  " in c) == pytest.approx(652 / 2050, abs=0.05)
    assert share(lambda c: not c.rstrip().endswith(".")) == pytest.approx(415 / 2050, abs=0.05)
    assert share(lambda c: len(c.split()) < 3) == pytest.approx(79 / 2050, abs=0.02)
    repeats = 0
    for case in plan_sample(Recipe(cases=1600)):
        repeats += sum(n - 1 for n in Counter(i.words.served for i in case.images).values())
    assert repeats / len(many) == pytest.approx(702 / 2050, abs=0.06)


def test_every_kind_of_noise_occurs_at_about_its_rate(many: list) -> None:
    counts = Counter(kind for image in many for kind in image.words.kinds)
    for kind, rate in RATES.items():
        assert 0 < counts[kind] / len(many) < 2.5 * rate, kind
        if rate > 0.009:
            assert counts[kind] / len(many) > 0.55 * rate, kind


def test_heavy_noise_is_heavier(many: list) -> None:
    heavy = images(cases=400, noise="heavy")
    for kind in ("template", "pointer", "newline", "figure_label"):
        often = sum(kind in i.words.kinds for i in heavy) / len(heavy)
        assert often > 2 * sum(kind in i.words.kinds for i in many) / len(many), kind


def test_a_dropped_caption_has_a_reason_and_no_clean_text(many: list) -> None:
    for image in many:
        dropped = image.words.clean is None
        assert dropped == (image.words.drop_reason in DROPPING)


def test_a_noise_seed_changes_the_noise_alone() -> None:
    one, other = images(cases=60), images(cases=60, noise_seed=99)
    assert [i.scene for i in one] == [i.scene for i in other]
    assert [i.words.served for i in one] != [i.words.served for i in other]


def test_wordings_change_the_words_alone() -> None:
    one, other = images(cases=60), images(cases=60, wordings="measure")
    assert [i.scene for i in one] == [i.scene for i in other]


def test_the_two_wordings_share_no_pattern_and_no_noise_phrase() -> None:
    one, other = WORDS["development"], WORDS["measure"]
    for name in ("present", "bare", "normal", "size", "size_sentence", "rest", "rest_normal", "bare_normal"):
        assert not set(getattr(one, name)) & set(getattr(other, name)), name
    a, b = (set(itertools.chain.from_iterable(PHRASES[s])) for s in ("development", "measure"))
    assert not a & b
    served = [{i.words.clean for i in images(cases=300, wordings=w)} - {None} for w in ("development", "measure")]
    shared = {c for c in served[0] & served[1] if len(c.split()) > 4}
    assert not shared
