"""Audio packets in, partials and finals out: one stream's share of the transcribe step.

In silence the stage keeps a window of the latest audio and asks the speech detector, from a fresh state, whether someone
speaks. From then on it remembers. A segment is open while someone speaks; it is heard quickly, again and again, for partials
(`stability` says what of them is promised), and carefully for its final: in a pause, or where a sentence has ended. What
finals said leads the next hearings (`context`, `hearing`). After a long silence, and at the latest every 75 s, everything is
forgotten, always where an item of the topic ends, and the portions behind the border are taken in again as if they were new.
So the state is a function of the items since then, and that is what `held` says.

When finals are due, and what is heard for them, follows from the audio alone; of partials they take over what was promised: a final
does not end before it, and has it where that is as likely. How often partials are said depends on the time that hearing takes
(`pace`), so on a machine that is too slow a final may come out otherwise. Two things outlast the forgetting and begin anew in a
stage that starts again: the language, which is identified from the first speech, and the statistics.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from copy import deepcopy

import structlog
from google.protobuf.message import Message
from watchword.v1 import events_pb2, media_pb2, transcript_pb2

from pipeline import telemetry
from pipeline.errors import WatchwordError, reason_name
from pipeline.media import chunks
from pipeline.media.decode import AudioBlock, AudioDecoder
from pipeline.media.losses import Losses
from pipeline.timeline import MediaTime
from pipeline.transcribe import closing, messages, segmentation, stability
from pipeline.transcribe.audio import Portion, Run, media_time, sample_at
from pipeline.transcribe.guards import Admitted
from pipeline.transcribe.hearing import CAREFUL, QUICK, Hearing
from pipeline.transcribe.language import Identifier
from pipeline.transcribe.level import Conditioner, raised
from pipeline.transcribe.listening import Listener, Memory, on_grid
from pipeline.transcribe.model import Transcriber
from pipeline.transcribe.open_segment import OpenSegment
from pipeline.transcribe.options import OPTIONS, Options
from pipeline.transcribe.pace import Pace
from pipeline.transcribe.replay import Origins
from pipeline.transcribe.segmentation import RULES, UNHURRIED, Move, Rules, Stretch
from pipeline.transcribe.stability import TRUST, Trust, continuation, corrections, corrects
from pipeline.transcribe.statistics import Statistics
from pipeline.transcribe.vad import SpeechDetector
from pipeline.transcribe.words import HeardWord, within, written

_log = structlog.get_logger(__name__)


class Transcribe:
    """Turns the audio of one stream into `TranscriptEvent`s.

    The partials and the final of a segment share an id. A final may have other words than were called stable; `corrected` says so.
    A gap ends what is open and is passed on.
    """

    def __init__(
        self,
        stream_id: str,
        model: Transcriber,
        vad: SpeechDetector,
        *,
        options: Options = OPTIONS,
        rules: Rules | None = None,
        trust: Trust = TRUST,
    ) -> None:
        """`model` and `vad` may be shared between streams; without `rules` those that suit the options are taken."""
        rules = rules or (UNHURRIED if options.recorded else RULES)
        self._stream_id = stream_id
        self._model = model
        self._options = options
        self._rules = rules
        self._trust = trust
        self._decoder = AudioDecoder(stream_id)
        self._losses = Losses(stream_id, "audio")
        self._conditioner = Conditioner()
        self._origins = Origins()
        self._run = Run()
        self._hearing = Hearing(stream_id, model, options, rules)
        self._listener = Listener(vad, rules)
        self._open: OpenSegment | None = None
        self._identifier = Identifier(stream_id, model, options.language)
        self._pace = Pace(rules)
        self._statistics = Statistics()
        self._latest: MediaTime | None = None
        """Up to where chunks have been taken, as long as no statistics were said of it."""

    @property
    def held(self) -> int:
        """As the contract says: the items from which the audio since everything was forgotten can be made again."""
        if not self._origins.count:
            return 0
        needed = self._run.needed if self._run else self._origins.needed_next()
        return self._origins.count - needed + 1

    @property
    def damaged(self) -> int:
        """Packets that could not be decoded so far."""
        return self._decoder.damaged

    async def process(self, item: Message) -> AsyncIterator[Message]:
        """Take an `AudioEvent`; raises what `AudioDecoder.decode` raises."""
        assert isinstance(item, events_pb2.AudioEvent)
        damaged = self.damaged
        async for event in messages.in_order(self._process(item)):
            yield event
        if item.HasField("chunk"):
            for loss in self._losses.note(self.damaged - damaged, chunks.media_end(item.chunk)):
                yield loss

    async def flush(self) -> AsyncIterator[Message]:
        """End what is open, and say the last statistics."""
        async for event in messages.in_order(self._break()):
            yield event
        if self._latest is not None:
            yield self._tell_statistics(self._latest)
        for loss in self._losses.rest():
            yield loss

    def close(self) -> None:
        """Release the decoder."""
        self._decoder.close()
        telemetry.forget_captions(self._stream_id)

    async def _process(self, item: events_pb2.AudioEvent) -> AsyncIterator[events_pb2.TranscriptEvent]:
        if item.HasField("gap"):
            async for event in self._break():
                yield event
            self._origins.accept_gap()
            self._conditioner.reset()
            yield events_pb2.TranscriptEvent(gap=item.gap)
            return
        blocks = await self._decode(item.chunk)
        before = deepcopy(self._origins)
        try:
            async for event in self._take(item.chunk, blocks):
                yield event
        except Exception:
            # The item is refused and will not be read again, so nothing may depend on it.
            self._origins = before
            self._conditioner.reset()
            self._drop()
            raise
        self._latest = chunks.media_end(item.chunk)
        if self._statistics.due(self._latest):
            yield self._tell_statistics(self._latest)

    async def _decode(self, chunk: media_pb2.MediaChunk) -> list[AudioBlock]:
        damaged = self.damaged
        try:
            return await asyncio.to_thread(self._decoder.decode, chunk)
        finally:
            telemetry.PACKETS_DAMAGED.inc(self.damaged - damaged)

    async def _take(self, chunk: media_pb2.MediaChunk, blocks: list[AudioBlock]) -> AsyncIterator[events_pb2.TranscriptEvent]:
        if chunk.sequence == 0:
            async for event in self._end_run():
                yield event
            self._origins.restart()
            self._conditioner.reset()
        usable = self._origins.accept(chunks.media_start(chunk), chunks.media_end(chunk))
        for block in blocks:
            samples = self._conditioner.push(block.start, block.samples)
            if not usable:
                continue
            portion = Portion(self._origins.needed(), block.start, samples)
            self._pace.received(len(samples))
            async for event in self._feed([portion]):
                yield event

    async def _break(self) -> AsyncIterator[events_pb2.TranscriptEvent]:
        """Hear out the decoder and end what is open."""
        for block in await asyncio.to_thread(self._decoder.flush):
            samples = self._conditioner.push(block.start, block.samples)
            if self._run and block.start == self._run.end:
                async for event in self._feed([Portion(self._run.needed, block.start, samples)]):
                    yield event
        async for event in self._end_run():
            yield event

    async def _end_run(self) -> AsyncIterator[events_pb2.TranscriptEvent]:
        """Nothing follows the run: end what is open, or what would have been opened with more audio."""
        if self._run and self._listener.memory is None:
            await self._begin()
        if self._open is not None:
            async for event in self._finish(self._open, self._run.end):
                yield event
        self._drop()

    def _drop(self) -> None:
        """Forget everything, the audio too."""
        self._run = Run()
        self._forget()

    def _forget(self) -> None:
        if self._open is not None:
            self._statistics.drop()
        self._open = None
        self._listener.forget()
        self._hearing.forget()

    async def _feed(self, portions: Sequence[Portion]) -> AsyncIterator[events_pb2.TranscriptEvent]:
        """Take in portions in order; those behind a border at which everything is forgotten are taken in again."""
        waiting = deque(portions)
        while waiting:
            portion = waiting.popleft()
            missing = portion.start - self._run.end if self._run else 0
            if 0 < missing <= self._rules.bridged:
                self._run.bridge(portion.start)
            elif missing:
                async for event in self._end_run():
                    yield event
            self._run.append(portion)
            segment, memory = await self._hear(), self._listener.memory
            if segment is None or memory is None:
                continue
            border: int | None = None
            speech_end = max([segment.start, *(stretch.end for stretch in self._listener.speech(segment.start))])
            match segmentation.next_move(
                now=memory.now,
                start=segment.start,
                stepped=segment.stepped,
                tried=segment.tried,
                speech_end=speech_end,
                step=self._pace.step if self._options.interim else None,
                rules=self._rules,
            ):
                case Move.PAUSE:
                    border = self._pause_border(memory, speech_end)
                    end = border if border is not None else min(self._run.end, speech_end + self._rules.post_roll)
                    async for event in self._finish(segment, end):
                        yield event
                case _ if self._run.end - memory.since >= self._rules.remember_at_most:
                    border = self._quiet_border(segment)
                    async for event in self._finish(segment, border):
                        yield event
                case Move.CLOSE:
                    async for event in self._try_to_close(segment):
                        yield event
                case Move.STEP:
                    if partial := await self._step(segment):
                        yield partial
            if border is not None:
                waiting.extendleft(reversed(self._run.after(border)))
                self._drop()

    # --- where segments are

    async def _hear(self) -> OpenSegment | None:
        """Let the detector hear the run; the segment that is open."""
        if self._listener.memory is None:
            self._run.shorten(self._rules.window)
            if self._run.length >= self._rules.window:
                await self._begin()
            return self._open
        memory = await self._listener.go_on(self._run)
        if self._open is None:
            start = self._listener.next_start()
            if start is not None:
                self._open_at(start)
            elif self._listener.is_over():
                self._forget()
                return await self._hear()
        self._release(memory)
        return self._open

    async def _begin(self) -> None:
        """Open a segment, if one starts in the run."""
        start = await self._listener.begin(self._run)
        if start is not None:
            self._open_at(start)

    def _open_at(self, start: int) -> None:
        begun = next((stretch.start for stretch in self._listener.speech(start)), start)
        self._open = OpenSegment(start, max(start, begun), start)

    def _release(self, memory: Memory) -> None:
        """Free the audio that will not be heard again."""
        start = self._open.start if self._open is not None else memory.closed
        needed = self._hearing.needed_from
        self._run.release(min(start, memory.now, self._run.end - self._rules.window, *([needed] if needed is not None else [])))
        memory.speech.forget(self._run.start)

    def _pause_border(self, memory: Memory, speech_end: int) -> int | None:
        """Where everything is forgotten in the pause, if it is time for that."""
        if self._run.end - memory.since < self._rules.remember:
            return None
        return segmentation.pause_border([border for border in self._run.borders if border >= speech_end], speech_end, self._rules)

    def _quiet_border(self, segment: OpenSegment) -> int:
        """Where everything is forgotten in running speech."""
        stable = segment.standing.stable
        borders = [border for border in self._run.borders if border > segment.start]
        stable_end = sample_at(stable[-1].end) if stable else segment.start
        return segmentation.quiet_border(borders, self._run.levels(borders), stable_end=stable_end)

    # --- what is said

    async def _step(self, segment: OpenSegment) -> events_pb2.TranscriptEvent | None:
        """Hear the segment quickly; the partial, if it says anything new."""
        end = self._run.end
        language = await self._language(segment)
        segment.stepped = end
        standing, speech = segment.standing, self._listener.speech(segment.start)
        tentative = standing.words[len(standing.stable) :]
        begun = time.monotonic()
        try:
            admitted = await self._hearing.quickly(self._run, segment.start, end, standing.stable, speech, language, tentative)
        except WatchwordError as error:
            # A partial is not worth a segment: the next hearing is due soon.
            self._fail(error, "partial")
            return None
        self._spent(time.monotonic() - begun, quickly=True)
        return self._partial(segment, admitted.words, end)

    def _partial(self, segment: OpenSegment, following: Sequence[HeardWord], end: int) -> events_pb2.TranscriptEvent | None:
        """The partial that says what was promised and the words that follow it, if it says anything new."""
        promised = len(segment.standing.stable)
        may_close = end + self._rules.step - segment.start >= self._rules.close
        segment.standing = stability.take(segment.standing, following, media_time(end), self._trust, may_close=may_close)
        words, stable = segment.standing.words, len(segment.standing.stable)
        if (written(words), stable) == (segment.said or ("", 0)):
            return None
        segment.said = (written(words), stable)
        self._statistics.show(words, words[promised:stable], media_time(end))
        return self._event(segment, end, words, stable)

    async def _try_to_close(self, segment: OpenSegment) -> AsyncIterator[events_pb2.TranscriptEvent]:
        """Hear the segment on trial, and carefully if it looks as though it can be closed: its final, and the partial of what is
        open then.
        """
        memory = self._listener.memory
        assert memory is not None
        end = self._run.end
        speech = self._listener.speech(segment.start)
        language = await self._language(segment)
        segment.stepped = segment.tried = end
        must = end - segment.start >= self._rules.longest
        on_trial = self._rules.on_trial and not must
        for manner in (QUICK, CAREFUL) if on_trial else (CAREFUL,):
            begun = time.monotonic()
            try:
                admitted = await self._hearing.whole(
                    self._run, segment.start, end, segment.standing.stable, speech, language, manner=manner
                )
            except WatchwordError as error:
                self._fail(error, "closing")
                return
            # With wide steps there are hardly any other quick hearings, and the pace would never learn that there is time again.
            self._spent(time.monotonic() - begun, quickly=manner is QUICK)
            words = admitted.words
            covered = continuation(segment.standing.stable, words)
            count = closing.place(words, covered, start=media_time(segment.start), now=media_time(end), must=must)
            if count is None:
                break
        if count is None and must and not words:
            words = segment.standing.stable
            count = len(words)
        if count is not None:
            border = min(on_grid(sample_at(closing.border(words, count))), end) if admitted.words else end
            async for event in self._final(segment, words[:count], border, admitted.refused, language):
                yield event
            memory.closed = border
            self._open = None
            if not memory.speech.after(border):
                return
            segment = self._open = OpenSegment(border, end, end)
            words, covered = words[count:], 0
        if self._options.interim and admitted.words and (partial := self._partial(segment, words[covered:], end)):
            yield partial

    async def _finish(self, segment: OpenSegment, end: int) -> AsyncIterator[events_pb2.TranscriptEvent]:
        """Hear the segment carefully up to its end: its final."""
        memory = self._listener.memory
        assert memory is not None
        speech = [Stretch(stretch.start, min(stretch.end, end)) for stretch in self._listener.speech(segment.start) if stretch.start < end]
        admitted = Admitted()
        try:
            language = await self._language(segment, last=True)
            if speech:
                begun = time.monotonic()
                admitted = await self._hearing.whole(
                    self._run, segment.start, end, segment.standing.stable, speech, language, manner=CAREFUL
                )
                self._spent(time.monotonic() - begun, quickly=False)
        except WatchwordError:
            # What was promised stands, and the segment is closed, whatever becomes of the item.
            async for event in self._final(segment, segment.standing.stable, end, {}, self._identifier.belief.language):
                yield event
            raise
        # What was promised is not taken back because the last hearing was in vain.
        async for event in self._final(segment, admitted.words or segment.standing.stable, end, admitted.refused, language):
            yield event
        self._statistics.drop()
        memory.closed = end
        self._open = None

    async def _final(
        self, segment: OpenSegment, words: tuple[HeardWord, ...], end: int, refused: dict[str, int], language: str
    ) -> AsyncIterator[events_pb2.TranscriptEvent]:
        """The final of the segment, and its translation; nothing, if nobody said a word."""
        self._statistics.refuse(refused)
        for reason, count in refused.items():
            telemetry.WORDS_REFUSED.labels(reason).inc(count)
            _log.info("words_refused", stream=self._stream_id, segment=messages.segment_id(segment.start), reason=reason, words=count)
        stable = segment.standing.stable
        self._statistics.close(words, min(len(stable), len(words)), media_time(self._run.end))
        self._hearing.keep(words)
        if not words and segment.said is None:
            return
        # A border lies on a grid, and so up to 20 ms before the last word's end.
        event = self._event(segment, end, within(words, media_time(segment.start), media_time(end)), len(words))
        event.segment.is_final = True
        event.segment.corrected = corrects(stable, words)
        for index in corrections(stable, words):
            event.segment.words[index].corrected = True
        yield event
        translatable = self._options.translate and words and language != "en" and "en" in self._model.languages
        if translatable and (translation := await self._translation(segment, event.segment, end, language)):
            yield translation

    async def _translation(
        self, segment: OpenSegment, said: transcript_pb2.TranscriptSegment, end: int, language: str
    ) -> events_pb2.TranscriptEvent | None:
        """The final of the segment in English, if anything is heard."""
        speech = self._listener.speech(segment.start)
        begun = time.monotonic()
        try:
            admitted = await self._hearing.translated(self._run, segment.start, end, speech, language)
        except WatchwordError as error:
            self._fail(error, "translation")
            return None
        self._spent(time.monotonic() - begun, quickly=False)
        if not admitted.words:
            return None
        event = self._event(segment, end, admitted.words, len(admitted.words))
        event.segment.language_probability = 0
        event.segment.id = f"{said.id}-en"
        event.segment.translation_of = said.id
        event.segment.language = "en"
        event.segment.revision = 0
        event.segment.is_final = True
        return event

    def _event(self, segment: OpenSegment, end: int, words: tuple[HeardWord, ...], stable: int) -> events_pb2.TranscriptEvent:
        return segment.event(self._stream_id, end, words, stable=stable, belief=self._identifier.belief, model=self._model.name)

    async def _language(self, segment: OpenSegment, *, last: bool = False) -> str:
        """The language to hear the segment in, identified from it if that is due, or if it is the `last` chance.

        An identification that fails is tried again at the next hearing; it raises only if there is none and nothing was ever identified.
        """
        voiced = sum(stretch.length for stretch in self._listener.speech(segment.start))
        spoken = self._listener.voiced
        if self._identifier.is_due(spoken, last=last and voiced > 0):
            begun = time.monotonic()
            try:
                changed = await self._identifier.identify(raised(self._run.samples(segment.start, self._run.end)), voiced, spoken)
            except WatchwordError as error:
                if last and not self._identifier.belief.probability:
                    raise
                self._fail(error, "language")
                return self._identifier.belief.language
            if changed:
                self._hearing.forget()
            self._spent(time.monotonic() - begun, quickly=False)
        return self._identifier.belief.language

    # --- keeping count

    def _spent(self, seconds: float, *, quickly: bool) -> None:
        self._pace.heard(seconds, quickly=quickly)
        self._statistics.heard(media_time(self._run.start), seconds)

    def _fail(self, error: WatchwordError, what: str) -> None:
        """Something that can be done without could not be done."""
        telemetry.ERRORS.labels("transcribe", reason_name(error.reason)).inc()
        _log.warning("hearing_failed", stream=self._stream_id, what=what, cause=str(error))

    def _tell_statistics(self, now: MediaTime) -> events_pb2.TranscriptEvent:
        self._latest = None
        stats = self._statistics.message(self._stream_id, now)
        messages.report(stats)
        return events_pb2.TranscriptEvent(stats=stats)
