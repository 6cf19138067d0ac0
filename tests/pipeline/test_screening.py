"""Policies at work: actions, spans and their times, failing classifiers, what nothing can judge, and bad input."""

import asyncio
from collections.abc import Mapping, Sequence
from io import BytesIO

import numpy as np
import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from watchword.v1.events_pb2 import AuditEvent, CaptionEvent, ClearedEvent, KeyframeEvent, TranscriptEvent
from watchword.v1.safety_pb2 import Action
from watchword.v1.scene_pb2 import Keyframe, SceneCaption
from watchword.v1.transcript_pb2 import TranscriptSegment, Word

from pipeline.errors import MediaUndecodable, MessageInvalid, ServiceUnavailable
from pipeline.safety import model
from pipeline.safety.answers import HeldBack
from pipeline.safety.audit import Auditor, Keys
from pipeline.safety.book import FixedBook
from pipeline.safety.judge import Judge
from pipeline.safety.model import NoPictures
from pipeline.safety.policy import Policy, Subject
from pipeline.safety.policy_file import parse, read
from pipeline.safety.scorer import may_judge
from pipeline.safety.stage import ScreenCaptions, ScreenKeyframes, ScreenTranscripts
from pipeline.stage import Stage
from pipeline.timeline import MediaTime
from tests.fakes import ScriptedClassifier

pytestmark = pytest.mark.unit

ALLOW, FLAG, REDACT, BLOCK = Action.ACTION_ALLOW, Action.ACTION_FLAG, Action.ACTION_REDACT, Action.ACTION_BLOCK
SHIPPED = FixedBook(read().of("").policies)


class ScriptedScorer:
    """Judges named policies with the next scores of its script; an error is raised, `None` never ends."""

    name = "scripted-model"
    digest = "ab" * 32

    def __init__(self, covered: Sequence[str], *script: Mapping[str, float] | Exception | None) -> None:
        self.heard: list[tuple[str | bytes, Subject, tuple[str, ...]]] = []
        self._covered, self._script = covered, list(script)

    def covers(self, policy: Policy, subject: Subject) -> bool:
        return may_judge(self.name, policy, self._covered)

    async def score(self, content: str | bytes, subject: Subject, policies: Sequence[Policy], *, question: str = "") -> Mapping[str, float]:
        self.heard.append((content, subject, tuple(policy.name for policy in policies)))
        said = self._script.pop(0) if self._script else {policy.name: 0.0 for policy in policies}
        if isinstance(said, Exception):
            raise said
        if said is None:
            await asyncio.Event().wait()
        return said or {}

    def close(self) -> None:
        pass


def book(policies: str) -> FixedBook:
    return FixedBook(parse(f"policies:\n{policies}").of("").policies)


def own(name: str, applies: str, action: str, extra: str = "") -> str:
    return f"  - {{name: {name}, description: D., applies_to: [{applies}], threshold: 0.5, action: {action}{extra}}}\n"


def process(stage: Stage, *items: Message) -> list[Message]:
    async def run() -> list[Message]:
        return [message for item in items async for message in stage.process(item)]

    return asyncio.run(run())


def segment(*words: str, glued: bool = False, final: bool = True, text: str | None = None) -> TranscriptEvent:
    said = [
        Word(
            text=word,
            media_start=MediaTime.of(10 + number).to_proto(),
            media_end=MediaTime.of(10.75 + number).to_proto(),
            glued=glued and number > 0,
        )
        for number, word in enumerate(words)
    ]
    joined = ("" if glued else " ").join(words)
    times = {"media_start": MediaTime.of(10).to_proto(), "media_end": MediaTime.of(40).to_proto()}
    return TranscriptEvent(
        segment=TranscriptSegment(stream_id="s", id="segment-1", is_final=final, words=said, text=joined if text is None else text, **times)
    )


def jpeg(width: int = 64, height: int = 36, **options: object) -> bytes:
    stored = BytesIO()
    pixels = np.random.default_rng(3).integers(0, 255, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stored, "JPEG", **options)
    return stored.getvalue()


def keyframe(picture: bytes, number: int = 1) -> KeyframeEvent:
    return KeyframeEvent(
        keyframe=Keyframe(stream_id="s", id=f"keyframe-{number}", media_time=MediaTime.of(number).to_proto(), jpeg=picture)
    )


def caption(text: str, *lines: str) -> CaptionEvent:
    frames = [Keyframe(stream_id="s", id="keyframe-1")]
    return CaptionEvent(caption=SceneCaption(stream_id="s", id="scene-0", text=text, on_screen_text=lines, keyframes=frames))


# Actions on text


def test_a_redaction_says_what_and_when() -> None:
    (cleared,) = process(ScreenTranscripts("s", Judge(NoPictures(), book=SHIPPED)), segment("oh", "shit", "mail", "a@b.org", "now"))
    assert isinstance(cleared, ClearedEvent)
    assert cleared.segment.text == "oh s*** mail ***.*** now"
    assert [word.text for word in cleared.segment.words] == ["oh", "s***", "mail", "***.***", "now"]
    told = [
        (each.policy, each.start, each.end, MediaTime.from_proto(each.media_start).seconds, MediaTime.from_proto(each.media_end).seconds)
        for each in cleared.segment.verdict.redactions
    ]
    assert told == [("profanity", 3, 7, 11.0, 11.75), ("personal-data", 13, 20, 13.0, 13.75)]


def test_a_number_over_several_words_is_masked_in_all_of_them() -> None:
    words = ("card", "4111", "1111", "1111", "1111.")
    (cleared,) = process(ScreenTranscripts("s", Judge(NoPictures(), book=SHIPPED)), segment(*words))
    assert isinstance(cleared, ClearedEvent)
    assert [word.text for word in cleared.segment.words] == ["card", "****", "****", "****", "****."]
    (redaction,) = cleared.segment.verdict.redactions
    assert (MediaTime.from_proto(redaction.media_start).seconds, MediaTime.from_proto(redaction.media_end).seconds) == (11.0, 14.75)


@pytest.mark.parametrize(
    ("words", "masked"),
    [
        (("你", "他妈", "的", "在", "说", "什么"), ["你", "他*", "*", "在", "说", "什么"]),
        (("この", "ク", "ソ", "野郎", "が"), ["この", "ク", "*", "**", "が"]),
        (("ไอ้", "เหี้", "ย", "เอ๊ย"), ["ไอ้", "เ***", "*", "เอ๊ย"]),
        (("妈", "妈", "的", "手"), ["妈", "妈", "的", "手"]),
    ],
)
def test_words_without_spaces_are_masked_one_by_one(words: tuple[str, ...], masked: list[str]) -> None:
    event = segment(*words, glued=True)
    (cleared,) = process(ScreenTranscripts("s", Judge(NoPictures(), book=SHIPPED)), event)
    assert isinstance(cleared, ClearedEvent)
    assert [word.text for word in cleared.segment.words] == masked
    assert cleared.segment.text == "".join(masked)
    assert [len(after.text) for after in cleared.segment.words] == [len(word) for word in words]


def said_in_turn(*texts: str, gap: float = 0.5, final: bool = True, language: str = "en") -> list[ClearedEvent]:
    """What becomes of segments that follow each other, each word a second long."""
    stage, start, cleared = ScreenTranscripts("s", Judge(NoPictures())), 0.0, []
    for number, text in enumerate(texts):
        event = segment(*text.split(), final=final or number < len(texts) - 1)
        event.segment.language = language
        event.segment.id = f"segment-{number}"
        event.segment.media_start.CopyFrom(MediaTime.of(start).to_proto())
        event.segment.media_end.CopyFrom(MediaTime.of(start + len(text.split())).to_proto())
        start += len(text.split()) + gap
        cleared += [message for message in process(stage, event) if isinstance(message, ClearedEvent)]
    return cleared


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (("My card is 4111 1111", "1111 1111 and so on"), ["My card is **** ****", "**** **** and so on"]),
        (("It is 4111.", "1111.", "1111.", "1111. Thanks"), ["It is 4111.", "****.", "****.", "****. Thanks"]),
        (("Write to jane dot doe", "at example dot com"), ["Write to jane dot doe", "** ******* *** ***"]),
        (("call me on four one five five", "five five five", "zero one three two"), None),
        (("IBAN DE89 3704", "0044 0532 0130 00 please"), ["IBAN **** ****", "**** **** **** ** please"]),
        (("In 1914", "1918 it ended"), ["In 1914", "1918 it ended"]),
        (("Meet me at four", "one of five came"), ["Meet me at four", "one of five came"]),
    ],
)
def test_what_spans_the_border_of_two_segments_is_masked_in_both_or_in_the_second(said: tuple[str, ...], shown: list[str] | None) -> None:
    texts = [each.segment.text for each in said_in_turn(*said)]
    if shown is None:
        assert texts[-1].replace("*", "").split() == []
        assert "one three two" not in " ".join(texts)
    else:
        assert texts == shown


def test_a_threat_over_two_segments_is_withheld_from_the_border_on() -> None:
    one, other = said_in_turn("Listen, I am going to", "kill you tonight")
    assert (one.segment.text, other.WhichOneof("event")) == ("Listen, I am going to", "withheld")
    apart = said_in_turn("Listen, I am going to", "kill you tonight", gap=60.0)
    assert [each.WhichOneof("event") for each in apart] == ["segment", "segment"]


def test_a_partial_shows_nothing_of_a_number_that_is_still_being_said() -> None:
    number = ["4111", "1111", "1111", "1111"]
    for count in range(2, 5):
        (cleared,) = said_in_turn("my card is " + " ".join(number[:count]), final=False)
        assert cleared.segment.text == "my card is " + " ".join(["****"] * count)
    (cleared,) = said_in_turn("in 1914 and 1918 there", final=False)
    assert cleared.segment.text == "in 1914 and 1918 there"


def test_what_was_said_before_is_read_again_after_a_crash() -> None:
    stage = ScreenTranscripts("s", Judge(NoPictures()))
    assert stage.held == 0
    process(stage, segment("hello", final=False), segment("hello"))
    assert stage.held == 1
    process(stage, segment("good", final=False), segment("good", "day"))
    assert stage.held == 3


@given(st.lists(st.text(alphabet="fuckshit妈的他ควย @.1é", min_size=1, max_size=6), min_size=1, max_size=12), st.booleans())
@settings(deadline=None, max_examples=60)
def test_masking_keeps_every_word_in_its_place(words: list[str], glued: bool) -> None:
    judged = Judge(NoPictures(), book=SHIPPED).transcript(("" if glued else " ").join(words), words, glued=[glued] * len(words))
    if judged.verdict.action != BLOCK:
        assert [len(word) for word in judged.words] == [len(word) for word in words]
        assert judged.text == ("" if glued else " ").join(judged.words)


def test_a_flagged_item_passes_unchanged_with_its_verdict_and_a_record() -> None:
    stage_judge = Judge(NoPictures(), book=book(own("profanity", "speech", "flag")))
    stage = ScreenTranscripts("s", stage_judge, Auditor(stage_judge.book, stage_judge.digests(), clock=lambda: 1000.5))
    cleared, audited = process(stage, segment("oh", "shit"))
    assert isinstance(cleared, ClearedEvent)
    assert isinstance(audited, AuditEvent)
    assert (cleared.segment.text, cleared.segment.verdict.action) == ("oh shit", FLAG)
    record = audited.record
    assert (record.action, record.subject, record.item_id, record.passed_text) == (FLAG, "speech", "segment-1", "oh shit")
    assert record.judged_at.ToNanoseconds() == 1_000_500_000_000
    (violation,) = record.violations
    assert (violation.policy, violation.probability, violation.model) == ("profanity", 1.0, "rules-v1")
    assert len(violation.model_sha256) == 64
    assert record.policy_version == cleared.segment.verdict.policy_version != ""


def test_a_withheld_item_leaves_a_marker_and_a_record_and_nothing_of_itself() -> None:
    judge = Judge(NoPictures(), book=SHIPPED)
    stage = ScreenTranscripts("s", judge, Auditor(judge.book, judge.digests()))
    withheld, audited = process(stage, segment("Zanzibar:", "I", "will", "kill", "you"))
    assert isinstance(withheld, ClearedEvent)
    assert isinstance(audited, AuditEvent)
    assert withheld.WhichOneof("event") == "withheld"
    assert audited.record.action == BLOCK
    for message in (withheld, audited):
        assert b"Zanzibar" not in message.SerializeToString()
        assert b"kill" not in message.SerializeToString()


def test_what_a_policy_keeps_is_sealed_and_only_the_key_opens_it() -> None:
    keys = Keys(bytes(range(32)))
    judge = Judge(NoPictures(), book=book(own("violent-threat", "speech", "withhold", ", keep_content: true")))
    stage = ScreenTranscripts("s", judge, Auditor(judge.book, judge.digests(), keys=keys))
    _, audited = process(stage, segment("I", "will", "kill", "you"))
    assert isinstance(audited, AuditEvent)
    record = audited.record
    assert b"kill" not in record.SerializeToString()
    assert keys.open(record.sealed_content, record.id) == b"I will kill you"
    with pytest.raises(Exception, match="another key"):
        Keys(bytes(32)).open(record.sealed_content, record.id)
    with pytest.raises(Exception, match="another key"):
        keys.open(record.sealed_content, "audit-of-something-else")


def test_partials_are_judged_by_rules_and_not_audited() -> None:
    scorer = ScriptedScorer(["profanity"])
    judge = Judge(NoPictures(), book=book(own("profanity", "speech", "redact")), scorers=[scorer])
    (cleared,) = process(ScreenTranscripts("s", judge, Auditor(judge.book, {})), segment("oh", "shit", final=False))
    assert isinstance(cleared, ClearedEvent)
    assert cleared.segment.text == "oh s***"
    assert scorer.heard == []


def test_a_model_that_finds_what_it_cannot_point_at_withholds_where_the_policy_redacts() -> None:
    scorer = ScriptedScorer(["hate"], {"hate": 0.9})
    judge = Judge(NoPictures(), book=SHIPPED, scorers=[scorer])
    # The shipped policy names its judges, and this is none of them.
    assert process(ScreenTranscripts("s", judge), segment("hello"))[0].segment.verdict.action == ALLOW  # type: ignore[attr-defined]
    judge = Judge(NoPictures(), book=book(own("hate", "speech", "redact")), scorers=[scorer])
    (withheld,) = process(ScreenTranscripts("s", judge), segment("hello"))
    assert isinstance(withheld, ClearedEvent)
    assert withheld.withheld.verdict.action == BLOCK
    assert "nothing in it could be masked for hate" in withheld.withheld.verdict.cause
    assert withheld.withheld.verdict.scores[0].model == "scripted-model"


def test_a_policy_about_which_a_model_says_nothing_is_judged_as_where_it_fails() -> None:
    """As a server whose model answers neither of the words that it was asked for."""
    scorer = ScriptedScorer(["hate", "harassment"], {"harassment": 0.1})
    both = own("harassment", "speech", "withhold") + own("hate", "speech", "withhold", ", on_error: withhold")
    (withheld,) = process(ScreenTranscripts("s", Judge(NoPictures(), book=book(both), scorers=[scorer])), segment("hello"))
    assert isinstance(withheld, ClearedEvent)
    verdict = withheld.withheld.verdict
    assert (verdict.action, list(verdict.failed), list(verdict.unscored)) == (BLOCK, ["hate"], [])
    assert verdict.cause == "could not be judged for hate"


def test_a_mask_for_one_policy_does_not_let_pass_what_violates_another() -> None:
    scorer = ScriptedScorer(["hate"], {"hate": 0.9})
    both = book(own("profanity", "speech", "redact") + own("hate", "speech", "redact"))
    (withheld,) = process(ScreenTranscripts("s", Judge(NoPictures(), book=both, scorers=[scorer])), segment("oh", "shit", "hello"))
    assert isinstance(withheld, ClearedEvent)
    assert withheld.withheld.verdict.action == BLOCK
    assert "nothing in it could be masked for hate" in withheld.withheld.verdict.cause


def test_a_stretch_that_violates_two_policies_is_masked_for_both() -> None:
    both = book(own("profanity", "speech", "redact") + own("rude", "speech", "redact", ", judged_by: [profanity]"))
    (cleared,) = process(ScreenTranscripts("s", Judge(NoPictures(), book=both)), segment("oh", "shit"))
    assert isinstance(cleared, ClearedEvent)
    assert cleared.segment.text == "oh s***"


def test_what_a_model_says_of_all_lines_holds_for_those_that_rules_let_pass() -> None:
    scorer = ScriptedScorer(["hate"], {"hate": 0.0}, {"hate": 0.9})
    both = book(own("profanity", "description", "withhold") + own("hate", "description", "withhold"))
    (cleared,) = process(ScreenCaptions("s", Judge(NoPictures(), book=both, scorers=[scorer])), caption("A wall.", "SHIT", "GO HOME"))
    assert isinstance(cleared, ClearedEvent)
    assert not cleared.caption.on_screen_text


def test_policies_differ_by_stream() -> None:
    from pipeline.safety.policy_file import PolicyFile

    class OfFile:
        def __init__(self, file: PolicyFile) -> None:
            self.of, self.tenant_of = file.of, file.tenant_of

    file = parse(
        f"policies:\n{own('profanity', 'speech', 'redact')}streams: [{{match: late-*, policies: {{profanity: {{action: allow}}}}}}]"
    )
    judge = Judge(NoPictures(), book=OfFile(file))
    assert judge.text("oh shit", stream_id="noon").text == "oh s***"
    late = judge.text("oh shit", stream_id="late-night")
    assert (late.text, late.verdict.action) == ("oh shit", ALLOW)
    assert late.verdict.policy_version != judge.text("oh shit", stream_id="noon").verdict.policy_version


# What nothing can judge


def test_a_policy_that_no_model_can_judge_is_unscored_and_not_safe() -> None:
    judge = Judge(ScriptedClassifier(0.0), book=SHIPPED)
    _, cleared = process(ScreenKeyframes("s", judge), keyframe(jpeg()))
    assert isinstance(cleared, ClearedEvent)
    verdict = cleared.keyframe.verdict
    assert list(verdict.unscored) == ["dangerous-content", "violence-gore"]
    assert [score.policy for score in verdict.scores] == ["sexually-explicit"]
    mine = Judge(ScriptedClassifier(0.0), book=book(own("rival-logos", "speech", "flag")))
    assert list(mine.text("hello").verdict.unscored) == ["rival-logos"]
    assert mine.text("hello").verdict.action == Action.ACTION_UNSPECIFIED


def test_where_nothing_can_be_judged_nothing_passes_and_where_nothing_is_asked_all_does() -> None:
    (withheld,) = process(ScreenKeyframes("s", Judge(NoPictures(), book=SHIPPED)), keyframe(jpeg()))
    assert isinstance(withheld, ClearedEvent)
    assert withheld.withheld.verdict.action == Action.ACTION_UNSPECIFIED
    assert "sexually-explicit" in withheld.withheld.verdict.unscored
    shown, _ = process(ScreenKeyframes("s", Judge(NoPictures(), book=book(own("profanity", "speech", "flag")))), keyframe(jpeg()))
    assert isinstance(shown, KeyframeEvent)
    assert shown.keyframe.verdict.action == ALLOW


# Failing and late classifiers


@pytest.mark.parametrize("error", [ServiceUnavailable("away"), RuntimeError("broken"), None], ids=["away", "broken", "late"])
@pytest.mark.parametrize(("on_error", "action"), [("", BLOCK), (", on_error: flag", FLAG), (", on_error: withhold", BLOCK)])
def test_a_frame_whose_classifier_fails_is_withheld_unless_its_policy_says_flag(
    error: Exception | None, on_error: str, action: Action
) -> None:
    scorer = ScriptedScorer(["gore"], error)
    judge = Judge(NoPictures(), book=book(own("gore", "frame", "withhold", on_error)), scorers=[scorer], deadline_s=0.02)
    said = process(ScreenKeyframes("s", judge), keyframe(jpeg()))
    cleared = said[-1]
    assert isinstance(cleared, ClearedEvent)
    verdict = cleared.withheld.verdict if action == BLOCK else cleared.keyframe.verdict
    assert (verdict.action, list(verdict.failed)) == (action, ["gore"])
    assert "could not be judged for gore" in verdict.cause
    assert len(said) == (1 if action == BLOCK else 2)


def test_captions_are_flagged_and_answers_withheld_when_a_model_fails() -> None:
    policies = own("hate", "speech, description, answer", "withhold")

    def judge() -> Judge:
        return Judge(NoPictures(), book=book(policies), scorers=[ScriptedScorer(["hate"], RuntimeError("down"))])

    (cleared,) = process(ScreenTranscripts("s", judge()), segment("hello"))
    assert isinstance(cleared, ClearedEvent)
    assert (cleared.segment.text, cleared.segment.verdict.action) == ("hello", FLAG)
    (cleared,) = process(ScreenCaptions("s", judge()), caption("A wall."))
    assert isinstance(cleared, ClearedEvent)
    assert cleared.caption.verdict.action == FLAG
    answer = asyncio.run(judge().whole_text("It is a wall.", subject=Subject.ANSWER))
    assert (answer.text, answer.verdict.action) == ("", BLOCK)


@pytest.mark.parametrize(("score", "left"), [(0.1, ["tv"]), (0.9, [])])
def test_a_model_judges_what_was_seen_in_the_words_in_which_it_is_told(score: float, left: list[str]) -> None:
    event = caption("A room.")
    event.caption.seen.add(keyframe_id="keyframe-1", label="tv", score=0.8, left=0.1, top=0.1, right=0.3, bottom=0.3)
    scorer = ScriptedScorer(["screens"], {"screens": 0.0}, {"screens": score})
    policies = own("screens", "description", "withhold") + own("profanity", "description", "redact")
    judge = Judge(NoPictures(), book=book(policies), scorers=[scorer])
    (cleared,) = process(ScreenCaptions("s", judge), event)
    assert isinstance(cleared, ClearedEvent)
    assert [heard for heard, _, _ in scorer.heard] == ["A room.", "a screen\ntv"]
    assert [each.label for each in cleared.caption.seen] == left


def test_rules_still_act_when_a_model_fails() -> None:
    policies = own("profanity", "speech", "redact") + own("hate", "speech", "withhold")
    judge = Judge(NoPictures(), book=book(policies), scorers=[ScriptedScorer(["hate"], RuntimeError("down"))])
    (cleared,) = process(ScreenTranscripts("s", judge), segment("oh", "shit"))
    assert isinstance(cleared, ClearedEvent)
    assert (cleared.segment.text, cleared.segment.verdict.action, list(cleared.segment.verdict.failed)) == ("oh s***", REDACT, ["hate"])


# Actions on pictures


@pytest.mark.parametrize("way", ["pixelate", "replace"])
def test_a_redacted_keyframe_goes_on_without_its_picture(way: str) -> None:
    judge = Judge(ScriptedClassifier(0.9), book=book(own("sexually-explicit", "frame", "redact", f", frames: {way}")))
    picture = jpeg(320, 180, exif=_exif(6))
    shown, cleared = process(ScreenKeyframes("s", judge), keyframe(picture))
    assert isinstance(shown, KeyframeEvent)
    assert isinstance(cleared, ClearedEvent)
    assert shown.keyframe.jpeg == cleared.keyframe.jpeg != picture
    with Image.open(BytesIO(shown.keyframe.jpeg)) as redacted, Image.open(BytesIO(picture)) as before:
        assert redacted.size == before.size
        assert not redacted.getexif()
        colours = len({redacted.convert("RGB").resize((12, 7), Image.Resampling.BOX).getpixel((x, y)) for x in range(12) for y in range(7)})
        detail = np.abs(np.diff(np.asarray(redacted.convert("L"), np.int16), axis=1)).mean()
        assert detail < np.abs(np.diff(np.asarray(before.convert("L"), np.int16), axis=1)).mean() / 8
        assert (colours == 1) == (way == "replace")
    assert cleared.keyframe.verdict.action == REDACT


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010E] = "a description that must not stay"
    return exif


# Bad input


@pytest.fixture(scope="module")
def classifier() -> model.ImageClassifier:
    return model.load()


def test_a_picture_of_one_pixel_has_a_verdict(classifier: model.ImageClassifier) -> None:
    assert asyncio.run(Judge(classifier, book=SHIPPED).picture(jpeg(1, 1))).verdict.action in (ALLOW, BLOCK)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_picture_of_a_hundred_megapixels_is_refused_before_it_is_decoded(classifier: model.ImageClassifier) -> None:
    start = jpeg().index(b"\xff\xc0")
    claimed = jpeg()[: start + 5] + (10_000).to_bytes(2, "big") * 2 + jpeg()[start + 9 :]
    with pytest.raises(MediaUndecodable, match=r"10000 x 10000|not a whole"):
        asyncio.run(Judge(classifier, book=SHIPPED).picture(claimed))


def test_a_picture_is_judged_as_it_is_seen(classifier: model.ImageClassifier) -> None:
    """A camera's picture that lies on its side is turned as EXIF says before it is judged."""
    upright = Image.fromarray(np.linspace(0, 255, 64 * 48 * 3).reshape(64, 48, 3).astype(np.uint8))
    stored, lying = BytesIO(), BytesIO()
    upright.save(stored, "JPEG", quality=95)
    upright.transpose(Image.Transpose.ROTATE_90).save(lying, "JPEG", quality=95, exif=_exif(6))
    one, other = (model.prepare(picture.getvalue()) for picture in (stored, lying))
    assert np.abs(one - other).mean() < 3
    unturned = BytesIO()
    upright.transpose(Image.Transpose.ROTATE_90).save(unturned, "JPEG", quality=95)
    assert np.abs(one - model.prepare(unturned.getvalue())).mean() > 10


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467",
        "مرحبا \u202eشكرا\u202c",
        "\u200b\u200c\u200d\ufeff",
        "раураl pаypal",
        "\ud83d",
        "\x00\x01",
        "a\u0301" * 500,
    ],
)
def test_odd_text_has_a_verdict(text: str) -> None:
    assert Judge(NoPictures(), book=SHIPPED).text(text).verdict.action == ALLOW


def test_an_offence_in_odd_surroundings_is_still_found() -> None:
    judge = Judge(NoPictures(), book=SHIPPED)
    for text in ("\U0001f600 f\u200bu\u200bc\u200bk \U0001f600", "مرحبا fuck مرحبا", "\u202efuck\u202c", "fuсk"):
        assert judge.text(text).verdict.action == REDACT
        assert "u" not in judge.text(text).text


def test_a_megabyte_of_text_is_refused_and_does_not_pass() -> None:
    judge = Judge(NoPictures(), book=SHIPPED)
    with pytest.raises(MessageInvalid, match="1,000,000 characters"):
        judge.text("a" * 1_000_000)
    said: list[Message] = []

    async def run() -> None:
        async for message in ScreenTranscripts("s", judge).process(segment("x", text="fuck " * 200_000)):
            said.append(message)  # noqa: PERF401 (what was said before a failure counts)

    with pytest.raises(MessageInvalid):
        asyncio.run(run())
    assert said == []


# Answers on their way


def tell(judge: Judge, parts: list[str]) -> tuple[str, Action]:
    async def run() -> tuple[str, Action]:
        held, told = HeldBack(judge, "s"), ""
        for part in parts:
            told += await held.add(part)
        ending = await held.end()
        return told + ending.rest, ending.verdict.action

    return asyncio.run(run())


@given(
    st.text(alphabet="ab .,", max_size=300), st.text(alphabet="ab .,", max_size=300), st.lists(st.integers(1, 9), min_size=1, max_size=40)
)
@settings(deadline=None, max_examples=60)
def test_nothing_withheld_is_told_however_the_answer_comes(before: str, after: str, sizes: list[int]) -> None:
    text = f"{before} I will kill you {after}"
    parts, place = [], 0
    for number in range(len(text)):
        size = sizes[number % len(sizes)]
        parts.append(text[place : place + size])
        place += size
    told, action = tell(Judge(NoPictures(), book=SHIPPED), parts)
    if action == BLOCK:
        assert "kill" not in told
        assert text.startswith(told)
    else:
        # A letter right before or after the phrase makes another one of it.
        assert told == text


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 7))
@settings(deadline=None, max_examples=40)
def test_an_answer_is_told_masked_and_whole(before: int, after: int, size: int) -> None:
    text = "word " * before + "oh shit, mail a@b.org " + "word " * after
    judge = Judge(NoPictures(), book=SHIPPED)
    told, action = tell(judge, [text[place : place + size] for place in range(0, len(text), size)])
    assert told == judge.text(text, subject=Subject.ANSWER).text
    assert action == REDACT


def test_the_window_is_small() -> None:
    async def first() -> int:
        held = HeldBack(Judge(NoPictures(), book=SHIPPED), "s")
        for number in range(1000):
            if await held.add(f"word{number} "):
                return number
        return 1000

    assert asyncio.run(first()) <= 25


def test_with_models_a_sentence_waits_for_its_judgement() -> None:
    scorer = ScriptedScorer(["hate"], {"hate": 0.1}, {"hate": 0.9})
    judge = Judge(NoPictures(), book=book(own("hate", "answer", "withhold")), scorers=[scorer])

    async def run() -> tuple[list[str], str]:
        held = HeldBack(judge, "s")
        told = [await held.add(part) for part in ("A wall", ". ", "Another", " thing. ", "More.")]
        return told, (await held.end()).rest

    told, rest = asyncio.run(run())
    assert told == ["", "A wall.", "", "", ""]
    assert rest == ""
