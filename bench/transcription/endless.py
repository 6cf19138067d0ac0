"""Speech as long as one likes, made of a session said again and again."""

import numpy as np

from bench.transcription.metrics import Truth, Word
from bench.transcription.sessions import RATE, Session


def endless(session: Session, seconds: float, *, first: int = 0) -> Session:
    """The session from its word number `first` on, over and over, for so many seconds; needs the words' times."""
    words = session.truth.words
    begin = (words[first % len(words)].start_s or 0.0) - 0.05
    cut = max(0, round(begin * RATE))
    turned = np.concatenate([session.samples[cut:], session.samples[:cut]])
    times = -(-round(seconds * RATE) // len(turned))
    samples = np.tile(turned, times)[: round(seconds * RATE)]
    said = []
    for turn in range(times):
        for word in (*words[first % len(words) :], *words[: first % len(words)]):
            assert word.start_s is not None
            assert word.end_s is not None
            offset = (turn + (word.start_s < cut / RATE)) * session.seconds - cut / RATE
            if word.end_s + offset <= seconds:
                said.append(Word(word.text, word.start_s + offset, word.end_s + offset))
    return Session(f"{session.name}-{first}", session.kind, samples, Truth(" ".join(word.text for word in said), tuple(said)))
