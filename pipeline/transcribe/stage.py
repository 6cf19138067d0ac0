"""Audio packets in, partials and finals out: one stream's share of the transcribe step.

In silence the stage keeps a window of the latest audio and asks the speech detector, from a fresh state, whether someone
speaks. Then a segment is open: about every second of audio it is heard again from its start, and what two hypotheses in
a row agree on is stable. It ends in a pause, or where running speech is quietest, and always where an item of the topic
ends: all state is dropped there, and the portions behind the border are taken in again as if they were new. So the state
is a function of the items since the border, and that is what `held` says.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from copy import deepcopy
from dataclasses import dataclass, field

import structlog
from google.protobuf.message import Message
from watchword.v1 import events_pb2, media_pb2, transcript_pb2

from pipeline import telemetry
from pipeline.media import chunks
from pipeline.media.decode import AudioBlock, AudioDecoder
from pipeline.transcribe import guards, segmentation
from pipeline.transcribe.agreement import Agreement, agree, corrects
from pipeline.transcribe.audio import Portion, Run, media_time, sample_at
from pipeline.transcribe.guards import Admitted, Span
from pipeline.transcribe.model import Passage, Transcriber
from pipeline.transcribe.replay import Origins
from pipeline.transcribe.segmentation import FRAME, RULES, Move, Rules, Stretch
from pipeline.transcribe.vad import SpeechDetector, VadState
from pipeline.transcribe.words import HeardWord, ends_sentence, written

_log = structlog.get_logger(__name__)

_START_GRID = segmentation.RATE // 50
"""Segments start on multiples of 20 ms: where a container rounds its times, a stage that starts late hears everything up to
half a millisecond shifted, and should call a segment the same all the same."""
_HEARINGS = 4
"""How often one stretch of audio is heard, at most, when the model stops early."""


@dataclass
class _Hearing:
    """What the detector makes of the run; positions are relative to the run's start."""

    probabilities: list[float]
    vad: VadState | None

    @property
    def end(self) -> int:
        return len(self.probabilities) * FRAME


@dataclass
class _Open:
    """A segment that someone is speaking; positions are absolute sample numbers."""

    start: int
    stepped: int
    hearing: _Hearing
    agreement: Agreement = field(default_factory=Agreement)
    said: tuple[str, int] | None = None
    """Text and number of stable words of the latest partial."""


class Transcribe:
    """Turns the audio of one stream into `TranscriptEvent`s.

    The partials and the final of a segment share an id. A final's words are those of one more decode of the whole segment,
    which may differ from what partials called stable; `corrected` says so. A gap ends what is open and is passed on.
    """

    def __init__(self, stream_id: str, model: Transcriber, vad: SpeechDetector, *, rules: Rules = RULES) -> None:
        """`model` and `vad` may be shared between streams."""
        self._stream_id = stream_id
        self._model = model
        self._vad = vad
        self._rules = rules
        self._decoder = AudioDecoder(stream_id)
        self._origins = Origins()
        self._run = Run()
        self._open: _Open | None = None

    @property
    def held(self) -> int:
        """As the contract says: the items from which the audio since the last border can be made again."""
        if not self._origins.count:
            return 0
        needed = self._run.needed if self._run else self._origins.needed_next()
        return self._origins.count - needed + 1

    async def process(self, item: Message) -> AsyncIterator[Message]:
        """Take an `AudioEvent`; raises what `AudioDecoder.decode` raises."""
        assert isinstance(item, events_pb2.AudioEvent)
        if item.HasField("gap"):
            async for segment in self._break():
                yield segment
            self._origins.accept_gap()
            yield events_pb2.TranscriptEvent(gap=item.gap)
            return
        blocks = await asyncio.to_thread(self._decoder.decode, item.chunk)
        before = deepcopy(self._origins)
        try:
            async for segment in self._take(item.chunk, blocks):
                yield segment
        except Exception:
            # The item is refused and will not be read again, so nothing may depend on it.
            self._origins = before
            self._drop()
            raise

    async def flush(self) -> AsyncIterator[Message]:
        """End what is open."""
        async for segment in self._break():
            yield segment

    def close(self) -> None:
        """Release the decoder."""
        self._decoder.close()

    async def _take(self, chunk: media_pb2.MediaChunk, blocks: list[AudioBlock]) -> AsyncIterator[Message]:
        if chunk.sequence == 0:
            async for segment in self._end_run():
                yield segment
            self._origins.restart()
        usable = self._origins.accept(chunks.media_start(chunk), chunks.media_end(chunk))
        for block in blocks if usable else []:
            portion = Portion(self._origins.needed(), block.start, block.samples)
            if self._run and portion.start != self._run.end:
                async for segment in self._end_run():
                    yield segment
            async for segment in self._feed([portion]):
                yield segment

    async def _break(self) -> AsyncIterator[Message]:
        """Hear out the decoder and end what is open."""
        for block in await asyncio.to_thread(self._decoder.flush):
            if self._run and block.start == self._run.end:
                async for segment in self._feed([Portion(self._run.needed, block.start, block.samples)]):
                    yield segment
        async for segment in self._end_run():
            yield segment

    async def _end_run(self) -> AsyncIterator[Message]:
        """Nothing follows the run: end what is open, or what would have been opened with more audio."""
        if self._run and self._open is None:
            self._open = await self._listen()
        if self._open is not None and (final := await self._final(self._open, self._run.end)):
            yield final
        self._drop()

    def _drop(self) -> None:
        self._run = Run()
        self._open = None

    async def _feed(self, portions: list[Portion]) -> AsyncIterator[Message]:
        """Take in portions in order; those behind a border that is found are taken in again."""
        waiting = deque(portions)
        while waiting:
            self._run.append(waiting.popleft())
            if not await self._hear():
                continue
            segment = self._open
            assert segment is not None
            match self._next_move(segment):
                case Move.STEP:
                    if partial := await self._partial(segment):
                        yield partial
                case Move.PAUSE | Move.CUT as move:
                    border = self._border(segment, move)
                    if border is None:
                        continue
                    if final := await self._final(segment, border):
                        yield final
                    waiting.extendleft(reversed(self._run.after(border)))
                    self._drop()

    async def _hear(self) -> bool:
        """Let the detector hear the run; whether a segment is open."""
        if self._open is not None:
            hearing = self._open.hearing
            samples = self._run.samples(self._run.start + hearing.end, self._run.end)
            found, hearing.vad = await self._vad.probabilities(samples[: len(samples) // FRAME * FRAME], hearing.vad)
            hearing.probabilities += found
            return True
        self._run.shorten(self._rules.window)
        if self._run.length >= self._rules.window:
            self._open = await self._listen()
        return self._open is not None

    async def _listen(self) -> _Open | None:
        """The segment that starts in the run, if one does."""
        samples = self._run.samples(self._run.start, self._run.end)
        hearing = _Hearing(*await self._vad.probabilities(samples[: len(samples) // FRAME * FRAME], None))
        speech = segmentation.stretches(hearing.probabilities, self._rules)
        start = segmentation.segment_start(speech, self._rules)
        if start is None:
            return None
        on_grid = (self._run.start + start) // _START_GRID * _START_GRID
        if on_grid < self._run.start:
            on_grid += _START_GRID
        return _Open(on_grid, self._run.start + speech[0].start, hearing)

    def _speech(self, segment: _Open) -> list[Stretch]:
        """Where there is speech in the run, in absolute sample numbers."""
        found = segmentation.stretches(segment.hearing.probabilities, self._rules)
        return [Stretch(self._run.start + stretch.start, self._run.start + stretch.end) for stretch in found]

    def _next_move(self, segment: _Open) -> Move:
        return segmentation.next_move(
            now=self._run.start + segment.hearing.end,
            start=segment.start,
            stepped=segment.stepped,
            speech=self._speech(segment),
            # A model ends whatever it hears with a full stop, so only one that has lasted counts.
            sentence_ended=not segment.agreement.tentative and ends_sentence(segment.agreement.stable),
            rules=self._rules,
        )

    def _border(self, segment: _Open, move: Move) -> int | None:
        """Where the segment ends."""
        if move is Move.PAUSE:
            speech_end = self._speech(segment)[-1].end
            return segmentation.pause_border([border for border in self._run.borders if border >= speech_end], speech_end, self._rules)
        stable = segment.agreement.stable
        stable_end = sample_at(stable[-1].end) if stable else segment.start
        borders = [border for border in self._run.borders if border > segment.start]
        longest = self._run.end - segment.start >= self._rules.maximum
        return segmentation.cut_border(borders, self._run.levels(borders), stable_end=stable_end, longest=longest, rules=self._rules)

    async def _decode(self, segment: _Open, end: int) -> Admitted:
        """The words from the segment's start to `end`; what the model leaves out because it stops early is heard again."""
        speech = [Stretch(stretch.start, min(stretch.end, end)) for stretch in self._speech(segment) if stretch.start < end]
        spans = [Span(media_time(stretch.start), media_time(stretch.end)) for stretch in speech]
        words: tuple[HeardWord, ...] = ()
        refused: Counter[str] = Counter()
        start: int | None = segment.start
        for _ in range(_HEARINGS):
            if start is None:
                break
            heard = Span(media_time(start), media_time(end))
            hypothesis = await self._model.transcribe(Passage(self._run.samples(start, end), heard.start))
            admitted = guards.admit(hypothesis, heard, [span for span in spans if span.end > heard.start])
            words += admitted.words
            refused.update(admitted.refused)
            start = segmentation.unheard_from(sample_at(admitted.words[-1].end), speech, self._rules) if admitted.words else None
        return Admitted(words, dict(refused))

    async def _partial(self, segment: _Open) -> Message | None:
        now = self._run.end
        admitted = await self._decode(segment, now)
        segment.stepped = now
        segment.agreement = agree(segment.agreement, admitted.words)
        words, stable = segment.agreement.words, len(segment.agreement.stable)
        if (written(words), stable) == (segment.said or ("", 0)):
            return None
        segment.said = (written(words), stable)
        return self._event(segment, now, words, stable)

    async def _final(self, segment: _Open, border: int) -> Message | None:
        admitted = await self._decode(segment, border)
        for reason, count in admitted.refused.items():
            telemetry.WORDS_REFUSED.labels(reason).inc(count)
            _log.info("words_refused", stream=self._stream_id, segment=_segment_id(segment), reason=reason, words=count)
        if not admitted.words and segment.said is None:
            return None
        event = self._event(segment, border, admitted.words, len(admitted.words))
        event.segment.is_final = True
        event.segment.corrected = corrects(segment.agreement.stable, admitted.words)
        return event

    def _event(self, segment: _Open, end: int, words: tuple[HeardWord, ...], stable: int) -> events_pb2.TranscriptEvent:
        return events_pb2.TranscriptEvent(
            segment=transcript_pb2.TranscriptSegment(
                stream_id=self._stream_id,
                id=_segment_id(segment),
                words=[
                    transcript_pb2.Word(
                        text=word.text,
                        media_start=word.start.to_proto(),
                        media_end=word.end.to_proto(),
                        probability=word.probability,
                    )
                    for word in words
                ],
                stable=stable,
                text=written(words),
                media_start=media_time(segment.start).to_proto(),
                media_end=media_time(end).to_proto(),
                language="en",
                model=self._model.name,
            )
        )


def _segment_id(segment: _Open) -> str:
    return f"segment-{media_time(segment.start).millis}"
