"""Small real things with a script, in place of models and sources."""

import asyncio
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
from google.protobuf.message import Message
from watchword.v1 import events_pb2, media_pb2, transcript_pb2

from pipeline.bus import Assigned, Bus, Context, Origin, Progress, Record, Revoked, Subscription
from pipeline.caption.model import Description, SceneView
from pipeline.memory.store import DIMENSIONS, Vectors
from pipeline.qa.words import stem, tokens
from pipeline.timeline import MediaTime
from pipeline.transcribe.audio import Samples
from pipeline.transcribe.model import LanguageGuess, Passage, Task, check
from pipeline.transcribe.vad import VadState
from pipeline.transcribe.words import HeardWord, Hypothesis


class ScriptedCaptioner:
    """Describes a scene by what it was shown, or by the next line of its script; an error in the script is raised."""

    name = "scripted"

    def __init__(self, *script: "str | Exception") -> None:
        self.seen: list[SceneView] = []
        self._script = list(script)

    async def describe(self, scene: SceneView) -> Description:
        self.seen.append(scene)
        line = self._script.pop(0) if self._script else " ".join(str(shot.time.millis) for shot in scene.shots)
        if scene.before and not isinstance(line, Exception):
            line += f" after ({scene.before[-1]})"
        if isinstance(line, Exception):
            raise line
        return Description(line, on_screen_text=("a sign",))


class ScriptedEmbedder:
    """Gives texts with the same words near vectors, or raises the next error of its script."""

    name = "scripted"

    def __init__(self, *script: Exception) -> None:
        self.seen: list[str] = []
        self._script = list(script)

    async def embed(self, texts: Sequence[str]) -> Vectors:
        if self._script:
            raise self._script.pop(0)
        self.seen += texts
        vectors = np.zeros((len(texts), DIMENSIONS), np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            vector[0] = 0.01
            for word in tokens(text):
                vector[1 + zlib.crc32(stem(word).encode()) % (DIMENSIONS - 1)] += 1
            vector /= np.linalg.norm(vector)
        return vectors

    async def close(self) -> None:
        pass


class ScriptedClassifier:
    """Scores pictures with the next numbers of its script, 0 when it is used up; an error in the script is raised."""

    name = "scripted"
    policies = ("sexually-explicit",)

    def __init__(self, *script: "float | Exception") -> None:
        self.seen: list[bytes] = []
        self._script = list(script)

    async def classify(self, jpeg: bytes) -> Mapping[str, float]:
        self.seen.append(jpeg)
        line = self._script.pop(0) if self._script else 0.0
        if isinstance(line, Exception):
            raise line
        return {"sexually-explicit": line}

    def close(self) -> None:
        pass


def spoken_words(text: str, start: float = 0.0, each: float = 0.4, probability: float = 0.9) -> tuple[HeardWord, ...]:
    """Words as a model hears them, one after another from a second on."""
    return tuple(
        HeardWord(word, MediaTime.of(start + n * each), MediaTime.of(start + (n + 1) * each), probability)
        for n, word in enumerate(text.split())
    )


class ScriptedTranscriber:
    """Knows what is said when, and hears of it what lies within the audio that it is given.

    The script holds words as (text, start, end) in seconds of media time. A word of `misheard` is heard wrongly while it
    ends within the last 0.15 s of the audio. An error in `failures` is raised instead of the next answer.
    """

    name = "scripted"
    languages = frozenset({"en"})
    continues = True

    def __init__(
        self, words: Sequence[tuple[str, float, float]], *, misheard: Mapping[str, str] | None = None, failures: Sequence[Exception] = ()
    ) -> None:
        self.heard: list[tuple[float, float]] = []
        self._words = words
        self._misheard = misheard or {}
        self._failures = list(failures)

    async def transcribe(self, passage: Passage) -> Hypothesis:
        if self._failures:
            raise self._failures.pop(0)
        start = passage.start
        end = start + MediaTime.of(len(passage.samples) / 16_000)
        self.heard.append((start.seconds, end.seconds))
        known = passage.prefix[-1].end if passage.prefix else MediaTime(-1)
        said = []
        for text, begin, close in self._words:
            if MediaTime.of(close) > known and begin >= start.seconds - 0.05 and close <= end.seconds + 0.05:
                recent = close > end.seconds - 0.15
                heard = self._misheard.get(text, text) if recent else text
                said.append(HeardWord(heard, MediaTime.of(begin), MediaTime.of(close), 0.9))
        return Hypothesis(tuple(said), -0.2, 0.0)

    async def identify(self, samples: Samples) -> tuple[LanguageGuess, ...]:
        return (LanguageGuess("en", 1.0),)

    def close(self) -> None:
        pass


class AnsweringTranscriber:
    """Gives the next answer of its script to whatever it is asked, and remembers what that was.

    When the script is used up, it answers with as many words behind the prefix as anybody says.
    """

    name = "answering"
    languages = frozenset({"en"})

    def __init__(self, *answers: Hypothesis, continues: bool = True) -> None:
        self.asked: list[Passage] = []
        self.continues = continues
        self._answers = list(answers)

    async def transcribe(self, passage: Passage) -> Hypothesis:
        self.asked.append(passage)
        if self._answers:
            return self._answers.pop(0)
        known = passage.prefix[-1].end if passage.prefix else passage.start
        seconds = (passage.start - known).seconds + len(passage.samples) / 16_000
        return Hypothesis(spoken_words(" ".join(f"word{n}" for n in range(int(seconds / 0.5))), known.seconds, 0.5))

    async def identify(self, samples: Samples) -> tuple[LanguageGuess, ...]:
        return (LanguageGuess("en", 1.0),)

    def close(self) -> None:
        pass


class MultilingualTranscriber(ScriptedTranscriber):
    """Tells languages by the pitch of the voice, with the share that it has of the sound, and writes German in capitals.

    It translates each word by adding "-en", and takes no more than a Whisper model does.
    """

    name = "multilingual"
    languages = frozenset({"en", "de", "fr"})
    pitches: Mapping[str, int] = {"en": 300, "de": 500, "fr": 700}
    """In Hz."""

    def __init__(self, words: Sequence[tuple[str, float, float]]) -> None:
        super().__init__(words)
        self.asked: list[Passage] = []

    async def transcribe(self, passage: Passage) -> Hypothesis:
        check(passage, self.name, self.languages)
        self.asked.append(passage)
        heard = await super().transcribe(passage)
        if passage.task is Task.TRANSLATE:
            return replace(heard, words=tuple(replace(word, text=f"{word.text.lower()}-en") for word in heard.words))
        if passage.language == "de":
            return replace(heard, words=tuple(replace(word, text=word.text.upper()) for word in heard.words))
        return heard

    async def identify(self, samples: Samples) -> tuple[LanguageGuess, ...]:
        power = np.square(np.abs(np.fft.rfft(samples)))
        frequencies = np.fft.rfftfreq(len(samples), 1 / 16_000)
        near = {language: float(power[np.abs(frequencies - pitch) < 90].sum()) for language, pitch in self.pitches.items()}
        total = sum(near.values())
        return tuple(LanguageGuess(language, near[language] / total) for language in sorted(near, key=near.__getitem__, reverse=True))


class LoudnessDetector:
    """Takes whatever is loud for speech; its state counts the frames."""

    async def probabilities(self, samples: Samples, state: VadState | None) -> tuple[list[float], VadState]:
        levels = np.sqrt(np.mean(np.square(samples.reshape(-1, 512)), axis=1))
        count = (state.memory if state else np.zeros(1, np.float32)) + len(levels)
        return [1.0 if level > 0.03 else 0.0 for level in levels], VadState(count, samples[:0])

    def close(self) -> None:
        pass


class Windows:
    """A stage that says a partial for each audio chunk and a final for each 8 bytes: it must be given its chunks again after a crash.

    Its words are the sequence numbers of the chunks, so a lost, repeated or mixed-up chunk shows in the text.
    """

    def __init__(self, stream_id: str, *, window_bytes: int = 8) -> None:
        self._stream_id = stream_id
        self._window_bytes = window_bytes
        self._chunks: list[media_pb2.MediaChunk] = []

    @property
    def held(self) -> int:
        return len(self._chunks)

    async def process(self, item: Message) -> AsyncIterator[Message]:
        assert isinstance(item, events_pb2.AudioEvent)
        self._chunks.append(item.chunk)
        yield self._say(is_final=False)
        if sum(len(packet.data) for chunk in self._chunks for packet in chunk.packets) >= self._window_bytes:
            yield self._say(is_final=True)
            self._chunks.clear()

    async def flush(self) -> AsyncIterator[Message]:
        if self._chunks:
            yield self._say(is_final=True)
            self._chunks.clear()

    def close(self) -> None:
        pass

    def _say(self, *, is_final: bool) -> events_pb2.TranscriptEvent:
        text = " ".join(str(chunk.sequence) for chunk in self._chunks)
        segment = transcript_pb2.TranscriptSegment(
            stream_id=self._stream_id, id=f"segment-{self._chunks[0].sequence}", is_final=is_final, text=text
        )
        return events_pb2.TranscriptEvent(segment=segment)


class Clear:
    """A stage that passes every segment on to `cleared` and holds nothing."""

    held = 0

    def __init__(self, stream_id: str) -> None:
        pass

    async def process(self, item: Message) -> AsyncIterator[Message]:
        assert isinstance(item, events_pb2.TranscriptEvent)
        yield events_pb2.ClearedEvent(segment=item.segment)

    async def flush(self) -> AsyncIterator[Message]:
        return
        yield

    def close(self) -> None:
        pass


class Crash(Exception):
    """The process is gone."""


class CrashingBus:
    """A bus whose user dies at the `at`-th thing it does: publishing, committing or releasing; from then on it does nothing more."""

    def __init__(self, bus: Bus, at: int, *, only: Collection[str] = ("publish", "commit", "release")) -> None:
        self._bus = bus
        self._left = at
        self._only = only
        self.crashed = False
        self.assigned = asyncio.Event()
        """Set once a subscription has been given a partition."""
        self.done: Counter[str] = Counter()
        """How often each thing was done."""

    async def do(self, kind: str) -> None:
        """Count one thing; let the other tasks go on before it, as a real bus does."""
        await asyncio.sleep(0)
        if kind in self._only:
            self._left -= 1
            self.crashed = self.crashed or self._left == 0
        if self.crashed:
            raise Crash(kind)
        self.done[kind] += 1

    async def publish(
        self, topic: str, stream_id: str, value: Message, *, origin: Origin | None = None, context: Context = Context()
    ) -> None:
        await self.do("publish")
        await self._bus.publish(topic, stream_id, value, origin=origin, context=context)

    async def subscribe(self, topic: str, group: str) -> Subscription:
        return _CrashingSubscription(self, await self._bus.subscribe(topic, group))

    async def follow(self, topic: str) -> Subscription:
        return await self._bus.follow(topic)

    async def close(self) -> None:
        await self._bus.close()


class _CrashingSubscription:
    def __init__(self, bus: CrashingBus, subscription: Subscription) -> None:
        self._bus = bus
        self._subscription = subscription

    async def next(self) -> Record | Assigned | Revoked:
        event = await self._subscription.next()
        if isinstance(event, Assigned):
            self._bus.assigned.set()
        return event

    async def commit(self, progress: Mapping[int, Progress]) -> None:
        await self._bus.do("commit")
        await self._subscription.commit(progress)

    async def release(self, progress: Mapping[int, Progress]) -> None:
        await self._bus.do("release")
        await self._subscription.release(progress)

    async def close(self) -> None:
        await self._subscription.close()
