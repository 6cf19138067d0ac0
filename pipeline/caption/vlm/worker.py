"""The worker's side of describing scenes: what is shown to the network, what need not be computed again, what is written.

Pictures are encoded one by one and their features kept, so that a picture seen ahead, a scene that grows, and a second question cost
no encoding. The instruction, which stands before the pictures, is read once for all scenes of a style.
"""

import gc
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.caption.model import SceneView, Shot
from pipeline.caption.pictures import decode
from pipeline.caption.positions import in_order
from pipeline.caption.selection import choose
from pipeline.caption.style import instruction, question
from pipeline.caption.vlm import prompt
from pipeline.caption.vlm.decoding import Decoder, Prefix, Row, Writing
from pipeline.caption.vlm.families import ENCODED_AT_ONCE, Family, Features
from pipeline.caption.vlm.intake import Intake
from pipeline.caption.vlm.lowrank import Adapter, Switch
from pipeline.caption.vlm.memory import is_out_of_memory, with_less
from pipeline.caption.vlm.patches import affordable
from pipeline.caption.vlm.repetition import repeated
from pipeline.caption.vlm.reuse import Shelf, digest
from pipeline.caption.vlm.thinning import OFF, Thinning, thin
from pipeline.errors import MediaUndecodable, ModelMismatch, WatchwordError
from pipeline.telemetry import PICTURE_TOKENS, SCENE_FIRST_TOKEN_SECONDS

MOST_SHOTS = 16
LEAST_SCENE_TOKENS = 64
"""With less of pictures there is nothing to describe."""
AHEAD_TOGETHER = 4
"""Pictures that are encoded in one go while scenes are being written: encoding one alone would hold them up nearly as long."""
LEAST_PREFIX = 64
"""Tokens of an instruction from which it may be worth keeping."""
FULL_SIZE = (448, 448)
"""Of a picture; larger ones are made smaller."""

Key = tuple[bytes, int, str]
"""A picture, the most pixels that it is shown with, and the adapter that changes how it is encoded, if one does."""


@dataclass(frozen=True)
class Limits:
    """How much is done at once and kept."""

    together: int = 8
    """Scenes in a batch."""
    scene_tokens: int = 4096
    """What the pictures of a scene may take: 16 of 448x448 pixels at 28 pixels a token."""
    feature_bytes: int = 256 * 2**20
    """Of pictures that were encoded; 0 keeps none."""
    prefix_bytes: int = 64 * 2**20
    """Of instructions that were read; 0 keeps none."""
    repeats: int = 8
    """So often may a model say the same in a row ("knock, knock, knock" is a sentence) before it is stopped; 0 never stops it."""
    thinning: Thinning = OFF
    """What of pictures that hardly change is not shown."""

    def on(self, device: str) -> "Limits":
        """These, as they suit a device, such as "cpu": a GPU writes many scenes in the time of one, and has memory for their pictures."""
        return replace(self, together=32, feature_bytes=2**31, prefix_bytes=2**29) if device == "cuda" else self

    @classmethod
    def of(cls, device: str) -> "Limits":
        """What suits a device where nothing else is said."""
        return cls().on(device)


@dataclass(frozen=True, eq=False)
class Ahead:
    """A shot of a scene that is still open, and the adapter that the scene will be described with."""

    shot: Shot
    adapter: str = ""


@dataclass(eq=False)
class Job:
    """A scene that is being described; belongs to the worker while it is worked on."""

    scene: SceneView
    most: int
    """Tokens that may be written."""
    told: Callable[[list[int]], None]
    """Given all tokens so far, on the worker's thread."""
    cancelled: bool = False
    """Set from any thread: nobody waits for it any more."""
    used: tuple[int, ...] = ()
    """Which of the scene's shots are shown, in order of time."""
    keys: tuple[Key, ...] = ()
    adapter: Adapter | None = None
    picture_tokens: int = 0
    """How many tokens its pictures took."""
    tokens: list[int] = field(default_factory=list)
    stopped: bool = False
    """Whether the last token said that it is the last."""
    repeated: int = 0
    """So many of the last tokens only repeat what stands before them; for that it was stopped."""
    certainty: float = 0.0
    """Sum of the logarithms of the tokens' probabilities."""
    since: float = field(default_factory=time.perf_counter)


class Worker:
    """Works for one network; everything but `knows` is called on one thread."""

    def __init__(self, name: str, family: Family, tokenizer: Any, limits: Limits, adapters: Iterable[Adapter] = ()) -> None:
        self.limits = limits
        self.adapters = {adapter.name: adapter for adapter in adapters}
        self.features: Shelf[Features] = Shelf("features", limits.feature_bytes)
        self.prefixes: Shelf[Prefix] = Shelf("prefix", limits.prefix_bytes)
        self._name = name
        self._family = family
        self._tokenizer = tokenizer
        self._stops = frozenset(_stops(family.network, tokenizer))
        self._switch = Switch(family.network)
        for adapter in self.adapters.values():
            self._switch.add(adapter)
        self._decoder = Decoder(family, self._switch)

    def parameters(self) -> Iterator[Any]:
        """The network's."""
        return iter(self._family.network.parameters())

    def knows(self, ahead: Ahead) -> bool:
        """Whether a shot is encoded already; from any thread."""
        return self.features.holds(self._key(ahead.shot, self._family.max_pixels, self.adapters.get(ahead.adapter)))

    def serve(self, intake: Intake[Job, Ahead]) -> None:
        """Describe scenes and encode shots as they come, until none is left; whoever comes joins those that are being described."""
        import torch

        with torch.inference_mode():
            while trouble := self._serve(intake):
                self._apart(*trouble, intake)

    def _serve(self, intake: Intake[Job, Ahead]) -> tuple[list[Job], bool] | None:
        """As `serve`; returns where scenes failed together: them, and whether it was for want of memory. What held it is let go by then."""
        writing, seated = self._decoder.begin(), dict[Row, Job]()
        while True:
            # While scenes are being written, pictures wait for company: a scene that ends has those encoded that it lacks.
            least = AHEAD_TOGETHER if seated else 1
            arrived, shots = intake.take(self.limits.together - len(seated), ENCODED_AT_ONCE, least=least)
            if shots:
                self._look_ahead(shots, intake)
            elif not arrived and not seated:
                return None
            try:
                done = self._join(writing, seated, arrived, intake) if arrived else writing.step() if seated else []
            except Exception as error:
                return [*seated.values(), *arrived], is_out_of_memory(error)
            for row in done:
                intake.settle(seated.pop(row), None)

    def run(self, jobs: Sequence[Job]) -> list[Exception | None]:
        """Describe scenes together and tell of each whether it failed; where memory does not suffice, in parts and by less."""
        import torch

        with torch.inference_mode():
            least = min(LEAST_SCENE_TOKENS, self.limits.scene_tokens)
            return with_less(jobs, self._describe, self.limits.scene_tokens, least=least, make_room=self._make_room)

    def encode(self, shots: Sequence[Ahead]) -> None:
        """Encode shots ahead."""
        import torch

        most = self._family.max_pixels
        with torch.inference_mode():
            self._encoded({self._key(each.shot, most, self.adapters.get(each.adapter)): each.shot for each in shots})

    def _look_ahead(self, shots: Sequence[Ahead], intake: Intake[Job, Ahead]) -> None:
        failure = None
        try:
            self.encode(shots)
        except Exception as error:
            # It was only in advance; without what it took, the scenes that are being described may still fit.
            failure = error
            self._make_room()
        for shot in shots:
            intake.settle(shot, failure)

    def _join(self, writing: Writing, seated: dict[Row, Job], jobs: list[Job], intake: Intake[Job, Ahead]) -> list[Row]:
        """Let scenes join; the rows that are done with their first token. Scenes leave `jobs` as they are seated or answered."""
        rows, failures = self._rows(jobs, self.limits.scene_tokens)
        for job, failure in zip(jobs.copy(), failures, strict=True):
            if failure is not None or job not in rows.values():
                jobs.remove(job)
                intake.settle(job, failure)
        seated |= rows
        jobs.clear()
        return self._begun(writing, list(rows))

    def _apart(self, jobs: Sequence[Job], crowded: bool, intake: Intake[Job, Ahead]) -> None:
        """Describe scenes that failed together: for want of memory in ever smaller parts, else each alone, so that only its own fails."""
        self._make_room()
        for part in [jobs] if crowded else [[job] for job in jobs]:
            failures: Sequence[Exception | None]
            try:
                failures = self.run(part)
            except Exception as failure:
                failures = [failure] * len(part)
            for job, told in zip(part, failures, strict=True):
                intake.settle(job, told)

    def _describe(self, jobs: Sequence[Job], budget: int) -> Sequence[Exception | None]:
        rows, failures = self._rows(jobs, budget)
        writing = self._decoder.begin()
        self._begun(writing, list(rows))
        while writing:
            writing.step()
        return failures

    def _begun(self, writing: Writing, rows: list[Row]) -> list[Row]:
        """Let rows join, and keep the instruction that was read with them."""
        if not rows:
            return []
        done = writing.join(rows)
        if (kept := rows[0].kept) is not None:
            self.prefixes.put((rows[0].parts[0], rows[0].adapter), kept, kept.nbytes)
        return done

    def _rows(self, jobs: Sequence[Job], budget: int) -> tuple[dict[Row, Job], list[Exception | None]]:
        """The scenes as the decoder takes them, but for those that nobody waits for; and of each whether it failed."""
        wanted: dict[Key, Shot] = {}
        for job in jobs:
            job.used, most_pixels = self._shown(job.scene.shots, budget)
            job.adapter = self.adapters[job.scene.style.adapter] if job.scene.style.adapter else None
            job.keys = tuple(self._key(job.scene.shots[number], most_pixels, job.adapter) for number in job.used)
            job.tokens, job.stopped, job.repeated, job.certainty = [], False, 0, 0.0
            if not job.cancelled:
                wanted |= {key: job.scene.shots[number] for key, number in zip(job.keys, job.used, strict=True)}
        features = self._encoded(wanted)
        failures: list[Exception | None] = []
        rows: dict[Row, Job] = {}
        for job in jobs:
            failure: WatchwordError | None = next((found for key in job.keys if isinstance(found := features.get(key), Exception)), None)
            if failure is None and not job.cancelled:
                try:
                    rows[self._row(job, [features[key] for key in job.keys], alone=len(jobs) == 1)] = job  # type: ignore[misc]
                except WatchwordError as error:
                    failure = error
            failures.append(failure)
        return rows, failures

    @staticmethod
    def _key(shot: Shot, most_pixels: int, adapter: Adapter | None) -> Key:
        return digest(shot.jpeg), most_pixels, adapter.name if adapter is not None and adapter.sees else ""

    def _shown(self, shots: Sequence[Shot], budget: int) -> tuple[tuple[int, ...], int]:
        """Which shots of a scene are shown, in order of time, and with how many pixels at most."""
        ordered = [(number, shots[number]) for number in in_order([shot.time for shot in shots])]
        full = self._family.tokens_each(FULL_SIZE, self._family.max_pixels)
        kept, tokens = affordable(min(len(ordered), MOST_SHOTS), full, budget)
        chosen = {id(shot) for shot in choose([shot for _, shot in ordered], kept)}
        return tuple(number for number, shot in ordered if id(shot) in chosen), self._family.max_pixels * tokens // full

    def _encoded(self, wanted: Mapping[Key, Shot]) -> Mapping[Key, Features | MediaUndecodable]:
        """The features of shots, computed where they are not known; or why a picture cannot be read."""
        found: dict[Key, Features | MediaUndecodable] = {}
        pictures: dict[tuple[int, str], dict[Key, Any]] = {}
        for key, shot in wanted.items():
            known = self.features.get(key)
            if known is not None:
                found[key] = known
                continue
            try:
                pictures.setdefault(key[1:], {})[key] = decode(shot.jpeg, what=f"keyframe at {shot.time.clock()}")
            except MediaUndecodable as error:
                found[key] = error
        for (most_pixels, adapter), group in pictures.items():
            with self._switch.on([self.adapters[adapter]] if adapter else []):
                encoded = self._family.encode(list(group.values()), most_pixels)
            for key, features in zip(group, encoded, strict=True):
                found[key] = features
                self.features.put(key, features, features.nbytes)
        return found

    def _row(self, job: Job, features: Sequence[Features], *, alone: bool) -> Row:
        """The scene as the decoder takes it; by itself it is read in one go, of which the instruction is kept."""
        style = job.scene.style
        times = [job.scene.shots[number].time for number in job.used]
        written = prompt.write(
            self._family,
            self._tokenizer,
            name=self._name,
            instruction=instruction(style),
            times=times,
            question=question(style, job.scene.before, job.scene.asked),
        )
        shown = thin(features, self.limits.thinning)
        job.picture_tokens = sum(each.count for each in shown)
        PICTURE_TOKENS.labels("shown").inc(job.picture_tokens)
        PICTURE_TOKENS.labels("left_out").inc(sum(each.count for each in features) - job.picture_tokens)
        parts = [shown[part] if isinstance(part, int) else part for part in written.parts]

        def take(token: int, certainty: float) -> bool:
            return self._take(job, token, certainty)

        fixed = written.fixed
        if len(fixed) < LEAST_PREFIX:
            return Row([fixed, *parts] if fixed else parts, times, take, adapter=job.adapter)
        prefix = self.prefixes.get((fixed, job.adapter))
        rest = sum(part.count if isinstance(part, Features) else len(part) for part in parts)
        if alone and (prefix is None or not self._decoder.worth_going_on(len(fixed), rest)):
            return Row([fixed, *parts], times, take, adapter=job.adapter, keep=len(fixed) if prefix is None else 0)
        if prefix is None:
            prefix = self._decoder.read(fixed, job.adapter)
            self.prefixes.put((fixed, job.adapter), prefix, prefix.nbytes)
        return Row(parts, times, take, prefix, job.adapter)

    def _take(self, job: Job, token: int, certainty: float) -> bool:
        """Note a token of a scene; whether another one is wanted."""
        if job.cancelled:
            return False
        if not job.tokens:
            SCENE_FIRST_TOKEN_SECONDS.observe(time.perf_counter() - job.since)
        job.tokens.append(token)
        job.certainty += certainty
        job.stopped = token in self._stops
        job.repeated = repeated(job.tokens, self.limits.repeats) if self.limits.repeats else 0
        job.told(job.tokens)
        return not job.stopped and not job.repeated and len(job.tokens) < job.most

    def _make_room(self) -> None:
        import torch

        self.features.clear()
        self.prefixes.clear()
        self._decoder.let_go()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _stops(network: Any, tokenizer: Any) -> list[int]:
    """The tokens that end a description; raises `ModelMismatch` where there is none, because nothing would end one."""
    stated = network.generation_config.eos_token_id
    stops = [each for each in (*(stated if isinstance(stated, list) else [stated]), tokenizer.eos_token_id) if each is not None]
    if not stops:
        raise ModelMismatch("the checkpoint names no token that ends a text (eos_token_id)")
    return stops
