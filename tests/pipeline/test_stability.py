"""Words, which of them are promised while more is heard, and what a final makes of the promise."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest

from pipeline.timeline import MediaTime
from pipeline.transcribe.stability import TRUST, Distances, Standing, Tentative, Trust, continuation, corrections, corrects, take
from pipeline.transcribe.words import HeardWord, Piece, compared, ends_sentence, join_pieces, spoken, written
from tests.fakes import spoken_words as words

pytestmark = pytest.mark.unit

PLAIN = Trust(new=((0.9, 0.2), (0.5, 1.0)), repeated=((0.5, 0.5),), confirmed=((0.0, 0.1),), overdue=3.0, sentence=0.8)
"""Easy to count with."""
LONG_AGO = MediaTime.of(1000)
ROWS: list[tuple[int, Distances]] = [(0, TRUST.new), (1, TRUST.repeated), (2, TRUST.confirmed), (3, TRUST.confirmed)]


def after(text: str, seconds: float) -> MediaTime:
    """So long after the last word."""
    return MediaTime.of(len(text.split()) * 0.4 + seconds)


def standing(text: str, seen: int, probability: float = 0.9) -> Standing:
    """After `seen` hypotheses that had these words, none of which were promised."""
    if not seen:
        return Standing()
    return Standing(tentative=tuple(Tentative(word, seen - 1) for word in words(text, probability=probability)))


def promised(
    text: str, seconds: float, *, seen: int = 0, probability: float = 0.9, trust: Trust = PLAIN, stable: str = "", may_close: bool = False
) -> str:
    before = replace(standing(text, seen, probability), stable=words(stable))
    following = words(text, len(stable.split()) * 0.4, probability=probability)
    return written(take(before, following, after(f"{stable} {text}", seconds), trust, may_close=may_close).stable[len(stable.split()) :])


# What is promised


@pytest.mark.parametrize(
    ("seen", "probability", "distance"), [(seen, probability, distance) for seen, rows in ROWS for probability, distance in rows]
)
def test_a_word_is_promised_at_its_distance_and_not_before(seen: int, probability: float, distance: float) -> None:
    assert promised("word", distance, seen=seen, probability=probability, trust=TRUST) == "word"
    assert promised("word", distance - 0.01, seen=seen, probability=probability, trust=TRUST) == ""


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.3, 0.5, 0.65, 0.75, 0.85, 0.95, 1.0])
def test_agreement_and_probability_bring_a_promise_nearer(probability: float) -> None:
    word = words("word", probability=probability)[0]
    surer = replace(word, probability=min(1.0, probability + 0.1))

    def distance(word: HeardWord, seen: int) -> float:
        found = TRUST.distance(word, seen)
        return 1e9 if found is None else found

    for seen in range(3):
        assert distance(word, seen) >= distance(word, seen + 1)
        assert distance(word, seen) >= distance(surer, seen)
    assert distance(word, 2) == distance(word, 7)


@pytest.mark.parametrize(
    ("seen", "probability", "seconds", "expected"),
    [
        (0, 0.9, 0.2, "word"),
        (0, 0.9, 0.19, ""),
        (0, 0.89, 0.99, ""),
        (0, 0.89, 1.0, "word"),
        (0, 0.49, 900, ""),
        (1, 0.9, 0.49, ""),
        (1, 0.5, 0.5, "word"),
        (1, 0.49, 900, ""),
        (2, 0.01, 0.1, "word"),
        (2, 0.99, 0.09, ""),
        (9, 0.01, 0.1, "word"),
    ],
)
def test_promises(seen: int, probability: float, seconds: float, expected: str) -> None:
    assert promised("word", seconds, seen=seen, probability=probability) == expected


def test_hypotheses_in_a_row_are_counted() -> None:
    found, trust = Standing(), Trust(new=(), repeated=(), confirmed=((0.0, 0.0),))
    for n in range(3):
        assert written(found.stable) == ""
        found = take(found, words("word"), MediaTime.of(1 + n), trust)
    assert written(found.stable) == "word"


def test_a_word_that_changes_begins_anew_with_all_behind_it() -> None:
    trust = Trust(new=(), repeated=(), confirmed=((0.0, 0.0),), overdue=1e6)
    found = Standing()
    for n, text in enumerate(("one two three four", "one two three four", "one too three four", "one too three four")):
        found = take(found, words(text)[len(found.stable) :], after(text, n), trust)
    assert (written(found.stable), written(found.words)) == ("one", "one too three four")
    found = take(found, words("one too three four")[1:], LONG_AGO, trust)
    assert written(found.stable) == "one too three four"


def test_a_word_behind_one_that_changed_is_new_too() -> None:
    trust = Trust(new=((0.9, 0.0),), repeated=((0.0, 0.0),), overdue=1e6)
    doubted = (replace(words("three", 0.8)[0], probability=0.1),)
    first = take(Standing(), words("one two", probability=0.5) + doubted, MediaTime.of(2), trust)
    assert written(take(first, words("one too") + doubted, MediaTime.of(3), trust).stable) == "one too"
    assert written(take(first, words("one two") + doubted, MediaTime.of(3), trust).stable) == "one two three"


def test_case_and_punctuation_do_not_matter() -> None:
    trust = Trust(new=(), repeated=((0.0, 0.0),), overdue=1e6)
    first = take(Standing(), words("the talk, about"), LONG_AGO, trust)
    assert written(take(first, words("The talk about"), LONG_AGO, trust).stable) == "The talk about"


def test_nothing_is_promised_behind_what_is_not() -> None:
    doubted = (words("a")[0], replace(words("b", 0.4)[0], probability=0.45), words("c", 0.8)[0])
    found = take(Standing(), doubted, after("a b c", 1), PLAIN)
    assert (written(found.stable), written(found.words)) == ("a", "a b c")


def test_a_half_heard_last_word_is_not_promised() -> None:
    found = Standing()
    for text, seconds in (("the work", 0.05), ("the workhouse", 0.05), ("the workhouse stood", 0.05)):
        found = take(found, words(text)[len(found.stable) :], after(text, seconds))
        assert "work" not in written(found.stable).split()
    assert written(found.stable) == "the workhouse"


def test_not_even_agreement_promises_what_is_at_the_very_edge() -> None:
    found = Standing()
    for _ in range(5):
        found = take(found, words("half", probability=0.5), after("half", 0.0))
    assert written(found.stable) == ""


def test_what_was_said_long_ago_is_promised_however_unlikely() -> None:
    assert promised("um er", PLAIN.overdue - 0.41, probability=0.01) == ""
    assert promised("um er", PLAIN.overdue - 0.4, probability=0.01) == "um"


def test_the_last_word_is_never_overdue() -> None:
    assert promised("um", 900, probability=0.01) == ""
    assert promised("um er", 900, probability=0.01) == "um"


@pytest.mark.parametrize("seed", range(20))
def test_stable_words_are_only_ever_appended_to(seed: int) -> None:
    chance = random.Random(seed)
    found, now = [Standing()], 0.5
    for _ in range(60):
        now += chance.choice((0.1, 0.3, 0.75))
        stable = found[-1].stable
        start = stable[-1].end.seconds if stable else 0.0
        count = max(0, int((now - start) / 0.4))
        text = " ".join(chance.choice(("we", "were", "here.", "Here,", "today")) for _ in range(chance.randint(0, count)))
        said = tuple(replace(word, probability=chance.random()) for word in words(text, start))
        found.append(take(found[-1], said, MediaTime.of(now), TRUST, may_close=chance.random() < 0.5))
        assert written(found[-1].words) == written((*stable, *said)), "nothing that was heard is left out"
    assert len(found[-1].stable) > 5
    for before, later in pairwise(found):
        assert later.stable[: len(before.stable)] == before.stable


def test_an_empty_hypothesis_takes_back_what_is_not_promised_and_nothing_else() -> None:
    before = replace(standing("and so", 1), stable=words("we were here"))
    found = take(before, (), after("we were here and so", 5))
    assert (written(found.stable), found.tentative) == ("we were here", ())


# Where a segment may be closed


def test_what_follows_a_sentence_is_kept_back_while_the_segment_may_be_closed_there() -> None:
    assert promised("It rained. We left", 0.3, may_close=False) == "It rained. We left"
    assert promised("It rained. We", 0.35, may_close=True) == "It rained."
    patient = replace(PLAIN, sentence=2.0)
    assert promised("It rained. We left", 0.3, may_close=True, trust=patient) == "It rained.", "nor what follows that"


def test_it_is_released_after_a_while() -> None:
    assert promised("It rained. We", PLAIN.sentence - 0.41, may_close=True) == "It rained."
    assert promised("It rained. We", PLAIN.sentence - 0.39, may_close=True) == "It rained. We"


def test_it_is_kept_back_behind_a_sentence_that_was_promised_before() -> None:
    assert promised("We", 0.35, stable="It rained.", may_close=True) == ""
    assert promised("We", 0.35, stable="It rained,", may_close=True) == "We"
    assert promised("We", 0.35, stable="It rained.", may_close=False) == "We"


def test_within_a_sentence_nothing_is_kept_back() -> None:
    assert promised("It rained and we", 0.35, may_close=True) == "It rained and we"


# What a final makes of it


@pytest.mark.parametrize(
    ("stable", "hypothesis", "rest"),
    [
        ("we were here", "we were here today", "today"),
        ("we were here", "we where here today", "today"),
        ("we were here", "were here today", "today"),
        ("we were here", "we we were here today", "today"),
        ("we were here", "We were, here. Today", "Today"),
        ("we were here", "well we were here today and", "today and"),
        ("no no no", "no no no no", "no"),
        ("we were here", "", ""),
        ("", "we were", "we were"),
        ("one two", "one two", ""),
        ("one two three", "one", ""),
        ("one two", "eins zwei drei", "drei"),
    ],
)
def test_the_rest_neither_repeats_nor_loses_words(stable: str, hypothesis: str, rest: str) -> None:
    heard = words(hypothesis)
    assert written(heard[continuation(words(stable), heard) :]) == rest


def test_a_final_corrects_stable_words_only_where_letters_change() -> None:
    assert not corrects(words("a ticket costs"), words("A ticket costs, twenty"))
    assert corrects(words("a ticket costs"), words("A ticket cost"))
    assert corrects(words("a ticket costs"), words("A ticket"))
    assert not corrects((), words("A ticket"))


@pytest.mark.parametrize(
    ("stable", "final", "expected"),
    [
        ("a ticket costs", "A ticket costs, twenty", []),
        ("a tickets costs", "a ticket costs twenty", ["ticket"]),
        ("a ticket cost too", "a ticket costs two pounds", ["costs", "two"]),
        ("a ticket costs", "a cheap ticket costs", ["cheap"]),
        ("a cheap ticket costs", "a ticket costs", ["ticket"]),
        ("one ticket costs much", "one ticket costs", ["costs"]),
        ("", "a ticket", []),
        ("a ticket", "", []),
    ],
    ids=["punctuation", "one-word", "two-words", "a-word-more", "a-word-less", "the-last-word-less", "nothing-promised", "no-words"],
)
def test_a_final_names_the_words_it_changed(stable: str, final: str, expected: list[str]) -> None:
    said = words(final)
    assert [said[index].text for index in corrections(words(stable), said)] == expected


@pytest.mark.parametrize("seed", range(10))
def test_words_are_named_exactly_where_a_final_corrects(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(40):
        stable, final = (words(" ".join(chance.choices("abc", k=chance.randint(1, 5)))) for _ in range(2))
        changed = corrections(stable, final)
        assert changed == sorted(set(changed))
        assert all(0 <= index < len(final) for index in changed)
        assert bool(changed) <= corrects(stable, final)


# Words


def pieces(*texts: str) -> list[Piece]:
    return [Piece(text, MediaTime.of(n), MediaTime.of(n + 1), 0.5 + 0.1 * (n % 2)) for n, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ((" Hello", ",", " world", "."), ["Hello,", "world."]),
        ((" well", "-", "known"), ["well-known"]),
        ((" 25", ".", "5", "%"), ["25.5%"]),
        ((" he", " said", ' "', "no", '"', "."), ["he", "said", '"no".']),
        (("...", " so"), ["so"]),
        ((" one", " -", " two"), ["one", "two"]),
        ((" £25", " ", " now"), ["£25", "now"]),
        ((" wait", " ..."), ["wait..."]),
        ((), []),
    ],
)
def test_pieces_become_words_with_their_punctuation(said: tuple[str, ...], expected: list[str]) -> None:
    assert [word.text for word in join_pieces(pieces(*said))] == expected


@pytest.mark.parametrize(
    ("said", "expected", "text"),
    [
        (("今天", "天", "气", "很好", "。"), ["今天", "天", "气", "很好。"], "今天天气很好。"),
        (("「", "はい", "」", "と", "言", "った"), ["「はい」", "と", "言", "った"], "「はい」と言った"),
        (("新", "しい", "i", "Phone", "、", "20", "24", "年"), ["新", "しい", "iPhone、", "2024", "年"], "新しいiPhone、2024年"),
        ((" OK", "。", " Open", "AI", "的", "人"), ["OK。", "OpenAI", "的", "人"], "OK。 OpenAI的人"),
        (("กิ", "น", "ข้", "า", "ว"), ["กิ", "น", "ข้", "า", "ว"], "กินข้าว"),
        (("ก", "ิ", "น"), ["กิ", "น"], "กิน"),
        (("ิ", "น"), ["ิ", "น"], "ิน"),
        (("好", "《", "红", "楼", "》", " 和"), ["好", "《红", "楼》", "和"], "好《红楼》 和"),
    ],
)
def test_where_no_spaces_are_written_each_piece_is_a_word(said: tuple[str, ...], expected: list[str], text: str) -> None:
    heard = join_pieces(pieces(*said), language="ja")
    assert [word.text for word in heard] == expected
    assert written(heard) == text
    assert [part for word in heard for part in word.tokens] == []


def test_marks_count_when_words_are_compared() -> None:
    assert len({spoken(text) for text in ("กิ", "กุ", "ก่", "कि", "का", "Été", "ete")}) == 7
    assert spoken("“Well-known”, 25.5%") == "wellknown255"
    assert compared("It was – I think.", apart=False) == ["it", "was", "i", "think"]
    assert compared("今天，很 好。", apart=True) == list("今天很好")


def test_tokens_stay_with_their_words() -> None:
    numbered = [replace(piece, tokens=(number,)) for number, piece in enumerate(pieces("好", "《", "红", "楼", "》", " a", "b"))]
    assert [word.tokens for word in join_pieces(numbered, language="zh")] == [(0,), (1, 2), (3, 4), (5, 6)]


def test_punctuation_has_no_part_in_a_words_time() -> None:
    hello, _, _ = join_pieces(pieces(" Hello", ",", " my", " friend"))
    assert (hello.start, hello.end, hello.probability) == (MediaTime.of(0), MediaTime.of(1), 0.5)


@pytest.mark.parametrize(
    ("text", "ended"),
    [
        ("It is.", True),
        ('"Is it?"', True),
        ("It is,", False),
        ("", False),
        ("是。", True),
        ("「はい！」", True),
        ("Dear Mr.", False),
        ("by J.", False),
        ("It was I.", True),
        ("It is No.", True),
    ],
)
def test_sentences_end(text: str, ended: bool) -> None:
    assert ends_sentence(words(text)) is ended
