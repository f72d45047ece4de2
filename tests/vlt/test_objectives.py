import dataclasses
from collections import Counter

import pytest
import torch

from tests.vlt import tiny
from vlt.data import UNSCORED
from vlt.objectives import Objectives, allowed_negatives, choose, draw, hide


def hidden(rate=0.5, findings=0.0, count=8, seed=0, batch=None):
    batch = tiny.batch(count) if batch is None else batch
    return hide(batch, rate, findings, tiny.TOKENIZER, torch.Generator().manual_seed(seed))


def test_whole_words_are_hidden_and_never_a_special_or_padding():
    split = dataclasses.replace(tiny.batch(64), words=tiny.batch(64).words // 2)  # words of two tokens each
    split.words[tiny.batch(64).words < 0] = -1
    asked = hidden(batch=split).mlm_labels != UNSCORED
    assert not asked[split.words < 0].any()
    for row in range(64):
        for word in range(int(split.words[row].max()) + 1):
            assert len(set(asked[row][split.words[row] == word].tolist())) == 1


def test_every_caption_is_asked_for_a_word_even_at_the_lowest_rate():
    assert ((hidden(0.0).mlm_labels != UNSCORED).sum(1) == 1).all()


def test_the_rate_and_80_10_10_hold():
    batch = hidden(0.3, count=4000)
    words = batch.words >= 0
    asked = batch.mlm_labels != UNSCORED
    assert abs(asked.sum() / words.sum() - 0.3) < 0.02
    masked = (batch.mlm_tokens == tiny.TOKENIZER.mask)[asked].float().mean()
    kept = (batch.mlm_tokens == batch.tokens)[asked].float().mean()
    assert abs(masked - 0.8) < 0.02 and abs(kept - 0.1) < 0.02
    assert torch.equal(batch.mlm_tokens[~asked], batch.tokens[~asked])
    assert torch.equal(batch.mlm_labels[asked], batch.tokens[asked])
    others = batch.mlm_tokens[asked & (batch.mlm_tokens != tiny.TOKENIZER.mask)]
    assert set(others.tolist()) <= set(tiny.TOKENIZER.plain.tolist())


def test_findings_hides_all_finding_side_and_size_words_of_that_share_of_captions():
    batch = tiny.batch(400)
    batch.classes[:, 3:5] = 2
    asked = hidden(0.0, 0.25, batch=batch).mlm_labels[:, 3:5] != UNSCORED
    assert 0.18 < asked.all(1).float().mean() < 0.32


def test_a_negative_shares_no_image_caption_case_or_cluster():
    batch = tiny.batch(5)
    for number, key in enumerate(("image_id", "caption_id", "case_id", "cluster_id")):
        getattr(batch, key)[number + 1] = 0  # the pairs 1 to 4 share one thing each with pair 0
    assert allowed_negatives(batch)[0].tolist() == [False] * 5
    assert allowed_negatives(batch)[1].tolist() == [False, False, True, True, True]


def test_choose_follows_the_weights():
    weights = torch.tensor([[0.0, 1.0, 0.0, 3.0]]).repeat(4000, 1)
    uniform = torch.rand(4000, generator=torch.Generator().manual_seed(0))
    counts = Counter(choose(weights, uniform).tolist())
    assert set(counts) == {1, 3} and abs(counts[3] / 4000 - 0.75) < 0.03
    assert choose(weights[:2], torch.tensor([0.0, 0.999999])).tolist() == [1, 3]


def swapped(settings, batch, monkeypatch):
    """What ITM was given: the image of each row, and the label."""
    model = tiny.model(settings)
    given = {}
    monkeypatch.setattr(model, "encode_image", lambda images: torch.arange(len(images)).float()[:, None, None])
    monkeypatch.setattr(model, "embed_image", lambda image: torch.ones(len(image), 1))
    monkeypatch.setattr(model, "embed_text", lambda text: torch.ones(len(text), 1))

    def match(text, image, present):
        given.update(image=image[:, 0, 0].long())
        return torch.zeros(len(batch.tokens), 2)

    monkeypatch.setattr(model, "match_logits", match)
    Objectives(model, settings)(batch)
    return given["image"]


@pytest.mark.parametrize("hard_negatives", [False, True])
def test_itm_swaps_half_of_the_images_for_allowed_ones_and_hard_ones_of_the_same_kind(hard_negatives, monkeypatch):
    objectives = {"itm": 1.0, "itc": 0.0} if hard_negatives else {"itm": 1.0}
    settings = tiny.config(objectives=objectives, itm_hard=1.0, hard_negatives=hard_negatives)
    monkeypatch.setattr(Objectives, "contrast", lambda *_: None)
    batch = draw(tiny.batch(400), settings, tiny.TOKENIZER, torch.Generator().manual_seed(0))
    batch.case_id[:] = batch.case_id // 4
    image = swapped(settings, batch, monkeypatch)
    moved = image != torch.arange(400)
    assert abs(moved.float().mean() - 0.5) < 0.1
    assert (batch.case_id[image] != batch.case_id)[moved].all()
    assert (batch.kind[image] == batch.kind)[moved].all()


def test_itm_has_no_negative_where_none_is_allowed(monkeypatch):
    settings = tiny.config(objectives={"itm": 1.0})
    batch = draw(tiny.batch(8), settings, tiny.TOKENIZER, torch.Generator().manual_seed(0))
    batch.case_id[:] = 1
    assert torch.equal(swapped(settings, batch, monkeypatch), torch.arange(8))


def test_itc_leaves_out_what_is_no_negative():
    settings = tiny.config(objectives={"itc": 1.0})
    model, batch = tiny.model(settings).eval(), tiny.batch(2)
    assert Objectives(model, settings)(batch)["itc"].loss > 0
    batch.cluster_id[:] = 0
    assert Objectives(model, settings)(batch)["itc"].loss == 0


def test_lm_asks_for_each_next_token_up_to_sep():
    settings = tiny.config(objectives={"lm": 1.0})
    batch = tiny.batch()
    assert Objectives(tiny.model(settings), settings)(batch)["lm"].asked == (batch.present.sum(1) - 1).sum()


def test_the_same_generator_gives_the_same_draws_and_another_does_not():
    settings = tiny.config()
    one, same, other = (
        draw(tiny.batch(), settings, tiny.TOKENIZER, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(one.mlm_tokens, same.mlm_tokens) and torch.equal(one.uniforms, same.uniforms)
    assert not torch.equal(one.uniforms, other.uniforms)


def test_matching_and_contrast_miss_a_share_of_whole_words_while_other_objectives_see_all():
    batch = draw(tiny.batch(2000), tiny.config(word_drop=0.3), tiny.TOKENIZER, torch.Generator().manual_seed(0))
    missed = batch.thinned != batch.tokens
    assert (batch.thinned[missed] == tiny.TOKENIZER.mask).all() and not missed[batch.words < 0].any()
    assert abs(missed.sum() / (batch.words >= 0).sum() - 0.3) < 0.02
    model = tiny.model(tiny.config()).eval()
    whole = dataclasses.replace(batch, thinned=None)
    told, of_whole = (Objectives(model, tiny.config())(some) for some in (batch, whole))
    assert {name for name in told if told[name].loss != of_whole[name].loss} == {"itm", "itc"}
