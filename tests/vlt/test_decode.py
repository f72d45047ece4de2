import math
from types import SimpleNamespace

import pytest
import torch
from torch.overrides import TorchFunctionMode

from corpus_db.errors import UserError
from tests.vlt import tiny
from vlt.decode import Decoder, Sampling, Search, draw, generate

FUSIONS = ["cross", "merged"]
TOKENS = 7  # of an image
CLS, END = tiny.TOKENIZER.cls, tiny.TOKENIZER.sep
BANNED = [tiny.TOKENIZER.pad, CLS, tiny.TOKENIZER.mask, tiny.TOKENIZER.unk]
PROMPTS = [[CLS], [CLS, 30, 31, 32, 33], [CLS, 40], [CLS, 50, 51, 52, 53, 54, 55, 56]]


def random_model(fusion, seed=0, text_layers=1, max_tokens=16, dtype=torch.float64):
    """Untrained, but with opinions, an end that comes at different lengths, and nothing left at 0."""
    model = tiny.model(tiny.config(fusion=fusion, text_layers=text_layers, max_tokens=max_tokens), seed)
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    model.heads["word"][2].weight.data *= 3
    model.word_bias.data[END] += seed
    return model.eval().to(dtype)


def random_images(count, seed=0, dtype=torch.float64):
    return torch.randn(count, TOKENS, 32, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@torch.no_grad()
def uncached(model, image, ids):
    """Logits (R, L, V) of a whole pass over rows of equal length (lists) about one image (N, width)."""
    tokens = torch.tensor(ids)
    present = torch.ones_like(tokens, dtype=torch.bool)
    text = model.encode_text(tokens, present, "seq2seq")
    return model.word_logits(model.fuse(text, image.expand(len(ids), -1, -1), present, "seq2seq").text)


def naive(model, image, prompt, beams, penalty=1.0, no_repeat=0):
    """The search of `generate`, over whole passes, one image at a time, in plain Python -> (score, ids)."""
    open_, closed, length = [(0.0, ())], [], 0
    while open_ and len(closed) < beams and len(prompt) + length < model.config.max_tokens:
        length += 1
        told = uncached(model, image, [[*prompt, *ids] for _, ids in open_])[:, -1].log_softmax(-1).tolist()
        grown = [
            (score + gain, (*ids, token))
            for (score, ids), gains in zip(open_, told, strict=True)
            for token, gain in enumerate(gains)
            if token not in BANNED and not repeats((*ids, token), no_repeat)
        ]
        grown = sorted(grown, reverse=True)[:beams]
        closed += [one for one in grown if one[1][-1] == END]
        open_ = [one for one in grown if one[1][-1] != END]
    return max((score / len(ids) ** penalty, list(ids)) for score, ids in closed or open_)


def repeats(ids, n):
    runs = [ids[first : first + n] for first in range(len(ids) - n + 1)] if n else []
    return len(set(runs)) < len(runs)


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("text_layers", [0, 2])
@pytest.mark.parametrize("steps", [[1] * 12, [5, 1, 1, 3, 2], [12]])
@torch.no_grad()
def test_cached_logits_are_the_uncached_at_every_place(fusion, text_layers, steps):
    model = random_model(fusion, text_layers=text_layers, dtype=torch.float32)
    images, tokens = random_images(2, dtype=torch.float32), torch.randint(5, 100, (2, 12))
    decoder = Decoder(model, images)
    read = [model.word_logits(decoder.read(part)) for part in tokens.split(steps, dim=1)]
    for row, logits in enumerate(torch.cat(read, dim=1)):
        whole = uncached(model, images[row], [tokens[row].tolist()])[0]
        torch.testing.assert_close(logits, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("fusion", FUSIONS)
@torch.no_grad()
def test_rows_and_images_that_are_chosen_go_on_as_if_alone_whatever_their_prompts_lengths(fusion):
    model, images = random_model(fusion, text_layers=2, dtype=torch.float32), random_images(4, dtype=torch.float32)
    decoder = Decoder(model, images)
    decoder.start(PROMPTS)
    decoder.select(torch.tensor([3, 3, 1, 1, 0, 0]), torch.tensor([3, 1, 0]))  # two rows of each
    decoder.read(torch.tensor([[60], [61], [62], [63], [64], [65]]))
    decoder.select(torch.tensor([1, 0, 0, 5, 5, 4]), torch.tensor([0, 2]))  # three of each
    logits = model.word_logits(decoder.read(torch.tensor([[70], [71], [72], [73], [74], [75]])))[:, 0]
    for row, (image, before) in enumerate([(3, 61), (3, 60), (3, 60), (0, 65), (0, 65), (0, 64)]):
        whole = uncached(model, images[image], [[*PROMPTS[image], before, 70 + row]])[0, -1]
        torch.testing.assert_close(logits[row], whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("beams", [1, 3, 8])
@pytest.mark.parametrize("no_repeat", [0, 1, 2])
def test_greedy_and_beam_search_write_what_an_uncached_search_writes(fusion, beams, no_repeat):
    ends = set()
    for seed in range(4):
        model, images = random_model(fusion, seed, text_layers=seed % 3), random_images(len(PROMPTS), seed)
        search = Search(beams, length_penalty=seed / 2, no_repeat=no_repeat)
        told = generate(Decoder(model, images), PROMPTS, search, end=END, banned=BANNED)
        for image, prompt, one in zip(images, PROMPTS, told, strict=True):
            score, ids = naive(model, image, prompt, beams, search.length_penalty, no_repeat)
            assert one.ids == ids and one.score == pytest.approx(score, abs=1e-9)
            ends.add((ids[-1] == END, len(ids)))
    assert len(ends) > 5 and {ended for ended, _ in ends} == {True, False}


@pytest.mark.parametrize("fusion", FUSIONS)
def test_images_are_read_once_however_long_the_text_is(fusion):
    class Reads(TorchFunctionMode):
        count = 0

        def __torch_function__(self, function, types, args=(), kwargs=None):
            if function is torch.nn.functional.linear:
                self.count += args[0].shape[1] == TOKENS
            return function(*args, **(kwargs or {}))

    counts = []
    for max_tokens in (4, 6, 16):
        model = random_model(fusion, max_tokens=max_tokens)
        model.word_bias.data[END] = -100  # never
        with Reads() as reads:
            (told,) = generate(Decoder(model, random_images(1)), [[CLS]], Search(), end=END, banned=BANNED)
        assert len(told.ids) == max_tokens - 1
        counts.append(reads.count)
    assert counts[0] > 0 and len(set(counts)) == 1


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("sampling", [None, Sampling(0.3)])
def test_no_repeat_holds_where_without_it_words_repeat(n, sampling):
    model = random_model("cross", max_tokens=24)
    model.word_bias.data[END] = -100
    model.word_bias.data[50:54] += 9  # of few words
    images, prompts = random_images(3), [[CLS, 50, 51, 52]] * 3
    free = generate(Decoder(model, images), prompts, Search(2, 1.0, 0, sampling), end=END, banned=BANNED)
    bound = generate(Decoder(model, images), prompts, Search(2, 1.0, n, sampling), end=END, banned=BANNED)
    assert all(repeats(tuple(one.ids), n) for one in free)
    assert not any(repeats(tuple(one.ids), n) for one in bound)


class Chain:
    """A decoder whose next word depends on the last one alone, by a table of probabilities."""

    def __init__(self, table, images=1, max_tokens=6):
        self.image = torch.zeros(images, 1, 1)
        logits = torch.tensor(table, dtype=torch.float64).log()
        self.model = SimpleNamespace(
            config=SimpleNamespace(max_tokens=max_tokens), word_logits=lambda words: logits[words]
        )

    def start(self, prompts):
        return torch.tensor([prompt[-1] for prompt in prompts])

    def read(self, tokens):
        return tokens

    def select(self, rows, images):
        self.image = self.image[images]


TABLE = [[0.0, 0.4, 0.1, 0.5], [0.0, 0.0, 0.9, 0.1], [0.0, 0.1, 0.0, 0.9], [0.25, 0.25, 0.25, 0.25]]  # the end is 3


def test_the_length_penalty_chooses_as_computed_by_hand():
    short, long = math.log(0.5), math.log(0.4 * 0.9 * 0.9)  # [3] and [1, 2, 3]
    even = math.log(long / short) / math.log(3)  # where long / 3 ** penalty is short
    table = [TABLE[0], [0.1, 0.0, 0.9, 0.0], *TABLE[2:]]
    for penalty, ids, score in (
        (0.0, [3], short),
        (even - 0.01, [3], short),
        (even + 0.01, [1, 2, 3], long / 3 ** (even + 0.01)),
        (1.0, [1, 2, 3], long / 3),
    ):
        (told,) = generate(Chain(table), [[0]], Search(2, penalty), end=3)
        assert told.ids == ids and told.score == pytest.approx(score)


def test_greedy_takes_the_likeliest_word_and_what_is_banned_is_never_written():
    assert generate(Chain(TABLE), [[0]], Search(1), end=3)[0].ids == [3]
    assert generate(Chain(TABLE), [[1]], Search(1), end=3)[0].ids == [2, 3]
    assert generate(Chain(TABLE), [[1]], Search(1), end=3, banned=[2])[0].ids == [3]
    assert generate(Chain(TABLE, max_tokens=4), [[1, 1]], Search(1), end=0)[0].ids == [2, 3]  # no place for more


def test_sampling_is_repeated_by_its_generator_and_follows_the_distribution():
    def texts(seed):
        search = Search(sampling=Sampling(generator=torch.Generator().manual_seed(seed)))
        count = 4000
        return [tuple(one.ids) for one in generate(Chain(TABLE, count), [[0]] * count, search, end=3)]

    found = texts(0)
    assert found == texts(0) != texts(1)
    expected = {(3,): 0.5, (1, 3): 0.04, (1, 2, 3): 0.4 * 0.9 * 0.9, (2, 3): 0.09, (2, 1, 3): 0.1 * 0.1 * 0.1}
    square = sum((found.count(ids) - 4000 * p) ** 2 / (4000 * p) for ids, p in expected.items())
    assert square < 20.5  # of 5 counts, which more than this is in 1 of 1,000


@pytest.mark.parametrize(
    "temperature,top_k,top_p",
    [(1.0, 0, 1.0), (0.5, 0, 1.0), (2.0, 3, 1.0), (1.0, 0, 0.75), (0.7, 4, 0.5), (1.0, 9, 0.01), (0.01, 0, 1.0)],
)
def test_a_token_is_drawn_from_what_temperature_top_k_and_top_p_leave(temperature, top_k, top_p):
    given = [0.05, 0.4, 0.1, 0.3, 0.15]
    shares = {token: p ** (1 / temperature) for token, p in enumerate(given)}
    left, order = {}, sorted(shares, key=shares.get, reverse=True)[: top_k or 5]
    whole = sum(shares[token] for token in order)
    for token in order:
        if sum(left.values()) < top_p:
            left[token] = shares[token] / whole
    expected = torch.tensor([left.get(token, 0.0) for token in range(5)]) / sum(left.values())
    told = torch.tensor(given).log().expand(20_000, 5)
    drawn = draw(told, Sampling(temperature, top_k, top_p, torch.Generator().manual_seed(0)))
    counts, hopes = drawn.bincount(minlength=5), expected * 20_000
    assert not counts[expected == 0].any()
    assert ((counts - hopes) ** 2 / hopes)[expected > 0].sum() < 20.5


def test_a_sampled_text_scores_as_a_searched_one_does():
    model, images = random_model("merged"), random_images(1)
    search = Search(length_penalty=0.5, sampling=Sampling(generator=torch.Generator().manual_seed(3)))
    (told,) = generate(Decoder(model, images), [[CLS]], search, end=END, banned=BANNED)
    logits = uncached(model, images[0], [[CLS, *told.ids]])[0]
    sums = sum(float(logits[place].log_softmax(0)[token]) for place, token in enumerate(told.ids))
    assert told.score == pytest.approx(sums / len(told.ids) ** 0.5)


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("prompts", [[[CLS] * 16], [[CLS], [CLS] * 17]])
def test_a_prompt_that_leaves_no_place_is_refused(beams, prompts):
    model, images = random_model("cross", max_tokens=16), random_images(len(prompts))
    with pytest.raises(ValueError, match=r"a prompt of 1[67] tokens where there are places for 16"):
        generate(Decoder(model, images), prompts, Search(beams), end=END)


@pytest.mark.parametrize(
    "make,message",
    [
        (lambda: Search(beams=0), "beams 0: give 1 or more"),
        (lambda: Search(length_penalty=math.nan), "length_penalty nan: give 0 or more"),
        (lambda: Search(length_penalty=math.inf), "length_penalty inf: give 0 or more"),
        (lambda: Search(length_penalty=-0.5), "length_penalty -0.5: give 0 or more"),
        (lambda: Search(no_repeat=-1), "no_repeat -1: give 1 or more tokens, or 0"),
        (lambda: Sampling(temperature=0.0), "temperature 0.0: give a value from 0.01 to 100"),
        (lambda: Sampling(top_k=-1), "top_k -1: give 1 or more, or 0 for all"),
        (lambda: Sampling(top_p=0.0), "top_p 0.0: give a value above 0, at most 1"),
    ],
)
def test_a_setting_that_cannot_work_is_named(make, message):
    with pytest.raises(UserError, match=message):
        make()
