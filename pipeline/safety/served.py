"""Models that judge by words behind a server with OpenAI's API, by the log probabilities of their first token.

ShieldGemma is asked over /completions, all policies in one request, which a server can batch and whose common beginning it can keep
(vLLM's prefix caching). ShieldGemma 2 is asked over /chat/completions with the picture and the policy alone, because the server's
chat template puts the instruction around it. Llama Guard is asked over /completions with each policy as its only category.
"""

import asyncio
import base64
import math
from collections.abc import Callable, Mapping, Sequence

from pipeline.errors import ModelMismatch
from pipeline.safety import prompts
from pipeline.safety.policy import Kind, Policy, Subject
from pipeline.safety.scorer import may_judge
from pipeline.safety.shieldgemma import IMAGE_POLICIES, TEXT_POLICIES
from pipeline.served import Server

TOP = 20
"""How many likeliest tokens are asked for: the most that servers tell."""

Prompt = Callable[..., str]
LogProbabilities = Mapping[str, float]
"""The likeliest first tokens and their log probabilities."""


class ServedText:
    """A text model whose first token tells whether a policy is violated."""

    digest = ""

    def __init__(
        self,
        name: str,
        url: str,
        model: str,
        prompt: Prompt,
        violation: str,
        otherwise: str,
        covered: frozenset[str] | None,
        *,
        key: str = "",
    ) -> None:
        """`violation` and `otherwise` are the two answers; `covered` the policies it was trained for, `None` any."""
        self.name = name
        self._server = Server(url, what="safety model", key=key)
        self._model, self._prompt = model, prompt
        self._answers = violation, otherwise
        self._covered = covered

    def covers(self, policy: Policy, subject: Subject) -> bool:
        """See `PolicyScorer`."""
        return subject.kind is Kind.TEXT and may_judge(self.name, policy, self._covered)

    async def score(self, content: str | bytes, subject: Subject, policies: Sequence[Policy], *, question: str = "") -> Mapping[str, float]:
        """See `PolicyScorer`; raises as `Server.post` where the server does not answer so."""
        assert isinstance(content, str)
        asked = [self._prompt(content, policy, subject, question=question) for policy in policies]
        answer = await self._server.post(
            "completions", {"model": self._model, "prompt": asked, "max_tokens": 1, "temperature": 0, "logprobs": TOP}
        )
        try:
            told = {int(choice["index"]): choice["logprobs"]["top_logprobs"][0] for choice in answer["choices"]}
            rows = [{str(token): float(value) for token, value in told[number].items()} for number in range(len(asked))]
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise ModelMismatch(f"{self._server.url} tells no log probabilities that are understood ({error!r})") from error
        return _scores(policies, rows, *self._answers)

    def close(self) -> None:
        """Let go of the connections."""
        self._server.close()


class ServedImage:
    """ShieldGemma 2 behind a server."""

    name = "shieldgemma-2"
    digest = ""

    def __init__(self, url: str, model: str, *, key: str = "") -> None:
        self._server = Server(url, what="safety model", key=key)
        self._model = model

    def covers(self, policy: Policy, subject: Subject) -> bool:
        """See `PolicyScorer`."""
        return subject is Subject.FRAME and may_judge(self.name, policy, IMAGE_POLICIES)

    async def score(self, content: str | bytes, subject: Subject, policies: Sequence[Policy], *, question: str = "") -> Mapping[str, float]:
        """See `PolicyScorer`; raises as `ServedText.score`."""
        assert isinstance(content, bytes)
        address = f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"
        rows = await asyncio.gather(*(self._ask(address, policy) for policy in policies))
        return _scores(policies, rows, prompts.YES, prompts.NO)

    async def _ask(self, address: str, policy: Policy) -> LogProbabilities:
        parts = [{"type": "image_url", "image_url": {"url": address}}, {"type": "text", "text": policy.wording(Subject.FRAME)}]
        answer = await self._server.post(
            "chat/completions",
            {
                "model": self._model,
                "messages": [{"role": "user", "content": parts}],
                "max_tokens": 1,
                "temperature": 0,
                "logprobs": True,
                "top_logprobs": TOP,
            },
        )
        try:
            told = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
            return {str(each["token"]): float(each["logprob"]) for each in told}
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ModelMismatch(f"{self._server.url} tells no log probabilities that are understood ({error!r})") from error

    def close(self) -> None:
        """Let go of the connections."""
        self._server.close()


def shieldgemma(url: str, model: str, *, key: str = "") -> ServedText:
    """ShieldGemma (text) behind a server."""
    return ServedText("shieldgemma", url, model, prompts.shieldgemma, prompts.YES, prompts.NO, TEXT_POLICIES, key=key)


def llama_guard(url: str, model: str, *, key: str = "") -> ServedText:
    """Llama Guard behind a server; it takes any policy as a category."""
    return ServedText("llama-guard", url, model, prompts.llama_guard, "unsafe", "safe", None, key=key)


def probability(told: LogProbabilities, violation: str, otherwise: str) -> float | None:
    """P(violation) of a softmax over the two answers, from the likeliest tokens; `None` where neither is among them.

    Tokenizers write an answer with a space before it or begin it with a part ("un" of "unsafe"): what is the answer's beginning, and not
    the other's, counts for it. An answer that is not among the likeliest is at most as likely as the last of them.
    """
    sums = [0.0, 0.0]
    for token, value in told.items():
        word = token.strip().casefold()
        fits = [bool(word) and answer.casefold().startswith(word) for answer in (violation, otherwise)]
        if fits[0] != fits[1]:
            sums[fits.index(True)] += math.exp(min(0.0, value))
    if not any(sums):
        return None
    least = math.exp(min(0.0, min(told.values())))
    yes, no = (each or min(least, max(sums)) for each in sums)
    return yes / (yes + no)


def _scores(policies: Sequence[Policy], rows: Sequence[LogProbabilities], violation: str, otherwise: str) -> dict[str, float]:
    scores = {policy.name: probability(row, violation, otherwise) for policy, row in zip(policies, rows, strict=True)}
    return {name: score for name, score in scores.items() if score is not None}
