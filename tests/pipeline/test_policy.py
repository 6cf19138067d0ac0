"""Policies: scores to verdicts, and the word rules with what they must and must not find."""

import dataclasses
import math
import time

import pytest
from watchword.v1.safety_pb2 import Action

from pipeline.errors import InternalError
from pipeline.models import locate
from pipeline.safety import words
from pipeline.safety.book import shipped
from pipeline.safety.judge import Judge, Judged
from pipeline.safety.model import NoPictures
from pipeline.safety.policy import Subject, decide, passes

pytestmark = pytest.mark.unit

ALLOW, REDACT, BLOCK = Action.ACTION_ALLOW, Action.ACTION_REDACT, Action.ACTION_BLOCK
POLICIES = shipped().of("").policies
SPEECH, FRAME = Subject.SPEECH, Subject.FRAME


@pytest.mark.parametrize(
    ("subject", "scores", "action"),
    [
        (SPEECH, {"profanity": 0.0, "self-harm": 0.0}, ALLOW),
        (SPEECH, {"profanity": 0.49}, ALLOW),
        (SPEECH, {"profanity": 0.5}, REDACT),
        (SPEECH, {"hate": 0.9}, REDACT),
        (SPEECH, {"self-harm": 0.5}, BLOCK),
        (SPEECH, {"harassment": 1.0}, BLOCK),
        (SPEECH, {"profanity": 1.0, "harassment": 0.6}, BLOCK),
        (SPEECH, {"sexually-explicit": 0.5}, BLOCK),
        (FRAME, {"sexually-explicit": 0.79}, ALLOW),
        (FRAME, {"sexually-explicit": 0.8}, BLOCK),
        (FRAME, {"violence-gore": 0.5, "sexually-explicit": 0.0}, BLOCK),
    ],
)
def test_the_strictest_violated_policy_decides(subject: Subject, scores: dict[str, float], action: Action) -> None:
    verdict = decide(subject, scores, policies=POLICIES, model="m")
    assert verdict.action == action
    assert {score.policy: score.probability for score in verdict.scores} == pytest.approx(scores)
    assert verdict.model == "m"
    assert bool(verdict.cause) == (action != ALLOW)


def test_the_cause_names_what_was_violated_worst_first() -> None:
    verdict = decide(SPEECH, {"profanity": 0.6, "hate": 0.1, "harassment": 0.9}, policies=POLICIES, model="m")
    assert verdict.cause == "harassment (0.90); profanity (0.60)"


def test_what_was_not_scored_is_not_called_safe() -> None:
    verdict = decide(FRAME, {}, policies=POLICIES, model="m")
    assert verdict.action == Action.ACTION_UNSPECIFIED
    assert not passes(verdict)


@pytest.mark.parametrize(
    ("subject", "scores"),
    [
        (SPEECH, {"profanity": math.nan}),
        (SPEECH, {"profanity": 1.1}),
        (SPEECH, {"profanity": -0.1}),
        (SPEECH, {"no-such-policy": 0.0}),
        (FRAME, {"profanity": 0.0}),
    ],
)
def test_a_score_that_means_nothing_is_an_error(subject: Subject, scores: dict[str, float]) -> None:
    with pytest.raises(InternalError):
        decide(subject, scores, policies=POLICIES, model="m")


def test_thresholds_and_actions_are_data() -> None:
    strict = POLICIES | {"profanity": dataclasses.replace(POLICIES["profanity"], threshold=0.3, actions={SPEECH: BLOCK})}
    assert decide(SPEECH, {"profanity": 0.4}, policies=strict, model="m").action == BLOCK


def test_every_rule_is_asked_by_a_policy_that_ships() -> None:
    asked = {rule for policy in POLICIES.values() for rule in policy.judges()}
    assert {*words.policies()} <= asked


def judged(text: str) -> Judged:
    return Judge(NoPictures()).text(text)


@pytest.mark.parametrize(
    "text",
    [
        "The class will assess the bass in Scunthorpe over a cocktail.",
        "Sussex, Essex, Middlesex and Penistone sent a petition about the cockpit of the peacock.",
        "Matsushita cooked shiitake mushrooms; push it, and hush it.",
        "We shoot a film tomorrow, then we shoot them again at sunset.",
        "I'll shoot you an email, and I'm going to shoot her portrait.",
        "Dick Cheney pricked his finger on a cactus while the cock crowed.",
        "The Niger and Nigeria; a niggardly sum; he sniggered.",
        "Analysis by the therapist: document the title, the grass, the brass and the mass.",
        "Kill all processes and abort the child. This will kill the weeds.",
        "If you feel suicidal, please call the suicide prevention line.",
        "I cut myself a slice of cake. I'm going to cut myself some slack.",
        "I'm dying to see you. I'm going to hang out by myself.",
        "I will kill. You see, the sentence ended.",
        "He was killed in the war; they had murdered their king.",
        "It costs $5, 455 people came, and 5 0 5 was the room.",
        "We eat pussy willow? No: the cat, a pussycat, came on the table.",
        "My name is A. S. S. Smith; the U S A and the U. S. S. R.",
        "Hancock, Hitchcock and Dickens wrote Moby Dick.",
        "Arsenal, embarrass, harass, passion, compass, Picasso.",
        "The retardant slows the fire; ritardando slows the tune.",
        "A chink in the armour, spic and span, a Maine coon, a fag end, the Dutch dyke.",
        "Cumin, cumulative, circumference, document, cucumber.",
        "",
        "   ",
        "…!?",
        "Über straße café naïve 日本語 суп",
        "The people who're coming, and he'll see that she'll be there.",
        "He pushed it in, and she'd hit the deck; sh, it is late.",
        "El cono de helado; un minuto, per favore; she got a dog.",
        "Niki Lauda, Amina and Marica went to Troia.",
        "パチンコとマンゴーとファックス",
        "창녕에서 곱씹어 보았다",
        "Вот так мягко: μαλακά, колебался, хлеба",
        "AT&T, R&D and Q&A; C# and F#; 50% of 100%; user@home; a|b (c)",
    ],
)
def test_ordinary_words_pass_unchanged(text: str) -> None:
    verdict = judged(text).verdict
    assert verdict.action == ALLOW, verdict.cause


@pytest.mark.parametrize(
    ("text", "policy", "masked"),
    [
        ("what the fuck", "profanity", "what the f***"),
        ("Fucking hell!", "profanity", "F****** hell!"),
        ("(shit), he said", "profanity", "(s***), he said"),
        ("FUCK'S sake", "profanity", "F***'* sake"),
        ("oh sh1t", "profanity", "oh s***"),
        ("oh $hit", "profanity", "oh $***"),
        ("sh!t happens", "profanity", "s*** happens"),
        ("you a$$hole", "profanity", "you a******"),
        ("fuuuuuck", "profanity", "f*******"),
        ("f u c k you", "profanity", "f * * * you"),
        ("F.U.C.K. this", "profanity", "F.*.*.*. this"),
        ("f-u-c-k", "profanity", "f-*-*-*"),
        ("i f u c k", "profanity", "i f * * *"),
        ("fück", "profanity", "f***"),
        ("fuсk", "profanity", "f***"),
        ("ｆｕｃｋ", "profanity", "ｆ***"),
        ("fu\u200bck", "profanity", "f****"),
        ("bull-shit", "profanity", "bull-s***"),
        ("you faggots", "slur", "you f******"),
        ("you f4ggot", "slur", "you f*****"),
        ("n1ggers", "slur", "n******"),
        ("ni99er", "slur", "n*****"),
        ("f#ck", "profanity", "f***"),
        ("f**k", "profanity", "f***"),
        ("fu(k", "profanity", "f***"),
        ("fvck", "profanity", "f***"),
        ("phuck", "profanity", "p****"),
        ("fu ck", "profanity", "f* **"),
        ("fu\x00ck", "profanity", "f****"),
        ("ƒʊck", "profanity", "ƒ***"),
        ("ғᴜcк", "profanity", "ғ***"),
        ("coño", "profanity", "c***"),
        ("चूतिया", "profanity", "च*****"),
        ("كســمك", "profanity", "ك*****"),
        ("нахуй", "profanity", "н****"),
    ],
)
def test_offensive_words_are_found_behind_disguises_and_masked(text: str, policy: str, masked: str) -> None:
    matches = words.find(text)
    assert {match.policy for match in matches} == {policy}
    assert max(match.probability for match in matches) == 1.0
    assert words.mask(text, [(match.start, match.end) for match in matches]) == masked
    assert len(masked.split()) == len(text.split())


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("I want to kill myself.", "self-harm"),
        ("I'm going to hang myself tonight", "self-harm"),
        ("Go kill yourself!", "self-harm"),
        ("just k1ll yourself", "self-harm"),
        ("KYS", "self-harm"),
        ("how to commit suicide", "self-harm"),
        ("I will kill you.", "harassment"),
        ("I'm gonna fucking murder everyone", "harassment"),
        ("We will bomb the school", "harassment"),
        ("I’ll shoot you in the head", "harassment"),
        ("you deserve to die", "harassment"),
        ("she gave him a blow job", "sexually-explicit"),
        ("suck my dick", "sexually-explicit"),
        ("bl0wjob", "sexually-explicit"),
        ("hardcore porn", "sexually-explicit"),
    ],
)
def test_threats_self_harm_and_explicit_phrases_are_blocked(text: str, policy: str) -> None:
    verdict = judged(text).verdict
    assert verdict.action == BLOCK
    assert policy in verdict.cause


@pytest.mark.parametrize(
    ("language", "text"),
    [("sv", "Det är slut."), ("da", "Et kys til jøder"), ("fr", "Le train a du retard."), ("fr-CA", "deux retards"), ("hr", "dva puta")],
)
def test_what_is_ordinary_in_the_language_that_is_spoken_is_left_alone(language: str, text: str) -> None:
    assert [match for match in words.find(text, language=language) if match.probability >= 0.5] == []
    assert [match for match in words.find("fuck", language=language) if match.probability >= 0.5]


def test_mild_words_are_recorded_but_pass() -> None:
    assert max(match.probability for match in words.find("That bastard sat on his ass.")) == pytest.approx(0.4)
    assert judged("That bastard sat on his ass.").verdict.action == ALLOW


@pytest.mark.parametrize("text", ["I will kill myself to ", "a b ", "i ", "f", "i want to ", "a!", "kill all of you ", "é", "f u c k "])
def test_ten_thousand_characters_of_anything_take_bounded_work(text: str) -> None:
    # Ten thousand characters are the limit of a call; a pattern that backtracks would take minutes.
    before = time.process_time()
    words.find((text * 10_000)[:10_000])
    assert time.process_time() - before < 5


def test_of_thirty_thousand_common_english_words_only_the_swear_words_are_found() -> None:
    vocabulary = (locate("minilm-l6-v2") / "vocab.txt").read_text("utf-8").splitlines()
    common = [word for word in vocabulary if word.isalpha() and len(word) > 1]
    assert len(common) > 20_000
    text = "\n".join(common)
    found = {text[match.start : match.end] for match in words.find(text) if match.probability >= 0.5}
    assert found == {"shit", "fuck", "bitch", "fucking", "bullshit", "whore", "fucked", "asshole", "shitty"}
