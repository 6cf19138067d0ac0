"""Whether a moment answers a question: a few signs, weighed."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass

from pipeline.caption.seen import unplaced
from pipeline.memory.store import Moment
from pipeline.qa.classes import by_themselves, is_another, is_kind_of
from pipeline.qa.question import COLOURS, Question, Want, contains
from pipeline.qa.words import content, stem, tokens, word_list

Similarity = Callable[[str, str], float]
"""How near two words are in meaning, at most 1."""

FROM_CONTEXT = 0.9
"""What a question's word counts that stands not in the moment but beside it: talk goes on about what the sentence before was about."""
REFERRING = word_list("i he she it they we my his her its their our him them me us this that these those there one")
"""Words that stand for somebody or something that was said before, or for who speaks."""
PEOPLE = word_list("i he she my his her me him")
FOR_SOMEBODY = 0.8
"""What somebody's name counts where such a word stands for them: whoever is introduced once says "I" from then on."""
RARE = 0.15
"""What the weight of a question's word is above how rare it is among the candidates, so that no word counts nothing."""
TAGS = "Tags:"
MANNER = re.compile(r"^\s*(?:dark, |bright, )?mostly |movement|still picture|nothing recognised|changing view")
ONE_OF_THEM = 0.95
"""What a general word counts that is met by one of its kinds: "animal" by "cat"."""
NAMED = 0.6
"""How well each of a question's words must be met by tags."""
UNCOLOURED = 0.5
"""What the focus of a question about a colour is worth at most where the colour is another thing's."""
BESIDE = 3
"""So many words further a colour belongs to a thing."""
IS = frozenset(["is", "are", "was", "were"])
FOCUS = re.compile(r"\b(?:how (?:many|much)|which|what)\s+(\w+)")


@dataclass(frozen=True)
class Candidate:
    """A moment that may answer a question."""

    moment: Moment
    context: str
    """What the moment is understood by: the sentence before, or a picture's other lines; may be empty."""
    cosine: float
    """Of the question and the moment; of a line in a picture alone or with the others, whichever is nearer."""


@dataclass(frozen=True)
class Signs:
    """What speaks for and against a candidate, each about 0 to 1, `hint` -1 to 1."""

    cosine: float
    """How near it is to the question in meaning."""
    coverage: float
    """How well the question's words are met by its words or its context's, on average."""
    rare: float
    """The same, where a word counts the more the less of what was found has it: what all talk is about tells nothing apart."""
    known: float
    """How well the question's words are met by any of the candidates: what is nowhere better met may still be the answer."""
    least: float
    """How well the question's worst met word is met: a train is not a bus."""
    focus: float
    """How well the word right after "how many", "what" or "which" is met; without one, the coverage."""
    has: float
    """1 where it contains what the question wants: a time for "when", a name for "who"."""
    lacks: float
    """1 where it does not contain that."""
    hint: float
    """1 where it is of a kind that the question names ("what does the sign say"), -1 where of another, 0 where none is named."""
    refers: float
    """1 where it has a word such as "it" or "I", which may stand for what the question names."""
    open: float = 0.0
    """1 where the question wants nothing by which an answer is known, such as a time or a name."""
    doubted: float = 0.0
    """1 where the question names somebody whom nothing that was found knows, a number that is not there, or something where another of its
    kind is told of; and where it asks tags, which name things, for anything else."""
    reranked: float = 0.0
    """How near a reranker puts it to being the answer (`pipeline.qa.reranker`); 0 where none has scored it."""


@dataclass(frozen=True)
class Weighing:
    """How much each sign counts."""

    weights: Signs
    bias: float


COMPARING = Weighing(
    Signs(
        cosine=5.91,
        coverage=2.2,
        rare=2.36,
        known=-3.41,
        least=0.73,
        focus=1.9,
        has=1.93,
        lacks=-2.23,
        hint=0.81,
        refers=0.65,
        open=1.36,
        doubted=-1.54,
    ),
    bias=-6.83,
)
"""Where nothing reranks."""
RERANKING = Weighing(
    Signs(
        cosine=3.26,
        coverage=1.72,
        rare=2.31,
        known=-3.0,
        least=0.23,
        focus=1.79,
        has=1.78,
        lacks=-2.18,
        hint=0.91,
        refers=0.77,
        open=1.26,
        doubted=-1.35,
        reranked=4.42,
    ),
    bias=-7.75,
)
"""Where a reranker has scored. Both were fitted by `python -m bench.qa.calibrate`, which also chooses the bias: nine of ten questions
that nothing answers stay unanswered in texts that were left out of the fit; docs/decisions/0011-answers.md says on what and how well
they do."""

SUPPORTED = 0.5
"""From this score on a moment answers the question."""


def vocabulary(question: Question, candidates: Sequence[Candidate]) -> list[str]:
    """Every word whose likeness to another will be asked for, each once."""
    texts = (f"{candidate.moment.text} {candidate.context}" for candidate in candidates)
    return list(dict.fromkeys([*question.words, *(word for text in texts for word in content(text))]))


@dataclass(frozen=True)
class Standard:
    """What the candidates of one question are measured by."""

    weights: Mapping[str, float]
    """How much each of the question's words counts: 1.15 where nothing that was found has it, 0.15 where all has."""
    known: float
    """See `Signs.known`."""


def standard(question: Question, candidates: Sequence[Candidate], similarity: Similarity, among: Sequence[str] = ()) -> Standard:
    """How rare the question's words are in `among`, and how well the candidates meet them at all; asks for pairs of `vocabulary`."""
    texts = [content(candidate.moment.text) for candidate in candidates]
    having = [frozenset(map(stem, content(text))) for text in among]
    size = len(having) + 1
    found = {word: sum(stem(word) in stems for stems in having) for word in question.words}
    weights = {word: RARE + math.log(size / (1 + count)) / math.log(size) if size > 1 else 1.0 for word, count in found.items()}
    best = [max((_met(word, words, similarity) for words in texts), default=0.0) for word in question.words]
    return Standard(weights, sum(best) / max(len(best), 1))


def signs(question: Question, candidate: Candidate, similarity: Similarity, by: Standard | None = None) -> Signs:
    """Read the signs, by itself or beside the other candidates; `similarity` is asked only for pairs of words of `vocabulary`."""
    by = by or standard(question, [candidate], similarity)
    own, context = content(unplaced(candidate.moment.text)), content(candidate.context)
    told = frozenset(tokens(candidate.moment.text))
    somebody = FOR_SOMEBODY if not PEOPLE.isdisjoint(told) else 0.0
    alone = {word: max(_met(word, own, similarity), somebody if word in question.names else 0.0) for word in question.words}
    met = {word: max(alone[word], FROM_CONTEXT * _met(word, context, similarity)) if context else alone[word] for word in question.words}
    coverage = sum(met.values()) / max(len(met), 1)
    asked = FOCUS.search(question.text.lower())
    # How sure a description is of itself ("0.95") counts nothing.
    has = contains(essence(candidate.moment.text), question)
    hint = 0.0 if not question.kinds else 1.0 if candidate.moment.kind in question.kinds else -1.0
    focus = met.get(asked.group(1), coverage) if asked else coverage
    if question.ask is not None and question.ask.want is Want.COLOUR:
        focus = 1.0 if coloured(candidate.moment.text, question.stems) else min(coverage, UNCOLOURED)
    return Signs(
        cosine=candidate.cosine,
        coverage=coverage,
        rare=sum(by.weights[word] * value for word, value in met.items()) / max(sum(by.weights.values()), RARE),
        known=by.known,
        least=min(alone.values(), default=0.0),
        focus=focus,
        has=float(has is True),
        lacks=float(has is False),
        hint=hint,
        open=float(question.ask is None),
        refers=float(not REFERRING.isdisjoint(told)),
        doubted=float(
            _of_another(question, own, context) or (candidate.moment.text.startswith(TAGS) and _asks_beyond_names(question, alone.values()))
        ),
    )


def _of_another(question: Question, own: Sequence[str], context: Sequence[str]) -> bool:
    """Whether a word of the question is missing where another of its kind stands: asked for a train, told of a bus."""
    having = {stem(word) for word in (*own, *context)}
    others = [word for word in own if stem(word) not in question.stems]
    return any(stem(word) not in having and any(is_another(word, other) for other in others) for word in question.words)


def _asks_beyond_names(question: Question, met: Iterable[float]) -> bool:
    """Whether tags cannot tell it, which name things: what a dog does, or who somebody is, stands in none."""
    if question.ask is not None:
        return question.ask.want is not Want.COLOUR
    return min(met, default=1.0) < NAMED


def essence(description: str) -> str:
    """What a description made of tags (pipeline.caption.compose) recognises, without how sure it is, colours and motion."""
    if not description.startswith(TAGS):
        return description
    clauses = [clause for clause in description.removeprefix(TAGS).rstrip(".").split(";") if not MANNER.search(clause)]
    return re.sub(r"\bprobably |\bperhaps |\d\.\d+(?:, )?|[()]", "", ", ".join(clauses)).strip() or description


def coloured(text: str, stems: frozenset[str]) -> bool:
    """Whether a colour stands just before one of the words asked about, as in "an orange space suit", or after it: "the suit is orange"."""
    words = tokens(text)
    places = [place for place, word in enumerate(words) if word in COLOURS]
    named = [place for place, word in enumerate(words) if stem(word) in stems]
    pairs = [(place, name) for place in places for name in named]
    return any(0 < name - place <= BESIDE or (0 < place - name <= BESIDE and IS & set(words[name:place])) for place, name in pairs)


def score(read: Signs, by: Weighing = COMPARING) -> float:
    """How sure it is that a moment with these signs answers the question, 0 to 1."""
    return 1 / (1 + math.exp(-by.bias - sum(weight * sign for weight, sign in zip(astuple(by.weights), astuple(read), strict=True))))


def _met(word: str, by: Sequence[str], similarity: Similarity) -> float:
    if any(stem(word) == stem(other) for other in by):
        return 1.0
    if any(is_kind_of(other, word) for other in by_themselves(by)):
        return ONE_OF_THEM
    return max((max(0.0, similarity(word, other)) for other in by if not is_another(word, other)), default=0.0)
