"""Follow-up questions: what was asked before, kept for a while, and a short question understood by it."""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from pipeline.errors import ConversationUnknown, RequestInvalid
from pipeline.qa.answer import Turn
from pipeline.qa.words import content, tokens

TURNS = 8
"""The most turns of a conversation that are kept; the oldest goes first."""
CONVERSATIONS = 1_000
KEPT_S = 1_800.0
"""A conversation is forgotten after so long a silence."""
FEW_WORDS = 1
"""A question of at most so many words with meaning leans on the one before."""
LEANS = frozenset(
    [
        "and",
        "also",
        "then",
        "it",
        "its",
        "he",
        "his",
        "she",
        "her",
        "they",
        "their",
        "them",
        "that",
        "this",
        "these",
        "those",
        "there",
        "one",
        "ones",
    ]
)


class Conversations:
    """The turns of each conversation, bounded in number, length and age; one process keeps them, a restart forgets them."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, tuple[str, ...], tuple[Turn, ...]]] = OrderedDict()

    def turns(self, conversation_id: str, streams: Sequence[str]) -> tuple[Turn, ...]:
        """What was asked in it; raises `ConversationUnknown`, or `RequestInvalid` for one about other streams."""
        if not conversation_id:
            return ()
        self._forget_old()
        if conversation_id not in self._kept:
            raise ConversationUnknown(f"the conversation {conversation_id[:50]!r} is not kept (any more): ask without one to begin anew")
        _, about, turns = self._kept[conversation_id]
        if about != tuple(streams):
            raise RequestInvalid(f"the conversation {conversation_id} is about {', '.join(about)}: begin another for other streams")
        return turns

    def add(self, conversation_id: str, streams: Sequence[str], turn: Turn) -> str:
        """Take a turn in; the conversation's id, a new one where there was none."""
        conversation_id = conversation_id or f"conversation-{secrets.token_hex(8)}"
        _, _, turns = self._kept.pop(conversation_id, (0.0, (), ()))
        self._kept[conversation_id] = (self._clock(), tuple(streams), (*turns, turn)[-TURNS:])
        while len(self._kept) > CONVERSATIONS:
            self._kept.popitem(last=False)
        return conversation_id

    def _forget_old(self) -> None:
        oldest = self._clock() - KEPT_S
        for conversation_id in [name for name, (seen, _, _) in self._kept.items() if seen < oldest]:
            del self._kept[conversation_id]


def in_context(question: str, history: Sequence[Turn]) -> str:
    """The question, followed by the words of the one before where it leans on that: "And how long?" after "When does it open?"."""
    own = content(question)
    leans = len(own) <= FEW_WORDS or (LEANS & set(tokens(question)[:3]) and len(own) <= 2 * FEW_WORDS + 1)
    if not history or not leans:
        return question
    before = [word for word in content(history[-1].question) if word not in own]
    return f"{question.rstrip(' ?')} {' '.join(before)}?" if before else question
