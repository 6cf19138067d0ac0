"""The captioner for a vision language model behind a server with OpenAI's chat API: vLLM, SGLang, llama.cpp, Ollama and the like.

Keyframes are sent as JPEGs with their times in words before them, because the protocol has no field for the time of a picture; a server
that is given a video would count frames evenly. A structured reply is asked for with a JSON schema where the server knows that field.
"""

import base64
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

import structlog

from pipeline.caption import asking
from pipeline.caption.asking import Say, Written
from pipeline.caption.model import Description, SceneView
from pipeline.caption.positions import in_order
from pipeline.caption.reply import SCHEMA
from pipeline.caption.selection import choose
from pipeline.caption.style import instruction, question
from pipeline.errors import ModelMismatch, SettingInvalid
from pipeline.served import Breaker, Event, Patience, Refusal, Server

log = structlog.get_logger(__name__)

MOST_SHOTS = 8
"""Pictures in a request: servers allow few, and each costs hundreds of tokens."""
STRUCTURED_TOKENS = 768
PATIENCE = Patience(timeout_s=30.0, whole_s=90.0, attempts=3, together=4)


@dataclass
class _Answer:
    """What a server has written so far."""

    parts: list[str] = field(default_factory=list)
    cut_off: bool = False
    revision: str = ""


class ServedCaptioner:
    """Describes scenes by asking a server, a few at once."""

    def __init__(
        self,
        url: str,
        *,
        model: str,
        key: str = "",
        max_new_tokens: int = 96,
        max_shots: int = MOST_SHOTS,
        patience: Patience = PATIENCE,
        breaker: Breaker | None = None,
    ) -> None:
        """Nothing is sent yet. `url` is the base, to which /chat/completions is added, `model` the server's name of the model.

        Raises `SettingInvalid` for something that is no URL.
        """
        self.name = model
        self.adapters: None = None
        """See `Adaptable`. vLLM and SGLang know each adapter that they serve by a name of its own, which is sent as the model's."""
        self._server = Server(url, what="captioner", key=key, patience=patience, breaker=breaker or Breaker())
        self._max_new_tokens, self._max_shots = max_new_tokens, max_shots
        self._knows_schema = True

    async def describe(self, scene: SceneView) -> Description:
        """Describe a scene; raises as `Server.post` where the server does not answer so."""
        return await asking.describe(scene, self._ask)

    def tell(self, scene: SceneView) -> AsyncGenerator[str | Description, None]:
        """See `Telling`."""
        return asking.tell(scene, self._ask)

    async def aclose(self) -> None:
        """See `Closing`: of the connections."""
        await self._server.aclose()

    async def _ask(self, scene: SceneView, say: Say | None) -> Written:
        ordered = in_order([shot.time for shot in scene.shots])
        chosen = choose([_Numbered(number, scene.shots[number].score) for number in ordered], self._max_shots)
        used = tuple(each.number for each in chosen)
        answer = await self._answered(self._request(scene, used), say)
        left_out = len(scene.shots) - len(used)
        return Written(
            "".join(answer.parts),
            used=used if left_out else None,
            cut_off=answer.cut_off,
            remark=f"{left_out} of {len(scene.shots)} keyframes were not looked at" if left_out else "",
            revision=answer.revision,
            adapter=scene.style.adapter,
        )

    def _request(self, scene: SceneView, used: tuple[int, ...]) -> dict[str, Any]:
        shots = [scene.shots[number] for number in used]
        told: list[dict[str, Any]] = []
        for shot in shots:
            address = f"data:image/jpeg;base64,{base64.b64encode(shot.jpeg).decode()}"
            told += [
                {"type": "text", "text": f"Keyframe at {(shot.time - shots[0].time).seconds:.1f} seconds:"},
                {"type": "image_url", "image_url": {"url": address}},
            ]
        told.append({"type": "text", "text": question(scene.style, scene.before, scene.asked)})
        asked: list[dict[str, Any]] = [{"role": "user", "content": told}]
        if system := instruction(scene.style):
            asked.insert(0, {"role": "system", "content": system})
        structured = scene.style.structured
        most = max(self._max_new_tokens, STRUCTURED_TOKENS) if structured else self._max_new_tokens
        body = {"model": scene.style.adapter or self.name, "messages": asked, "temperature": 0, "max_tokens": most, "stream": True}
        if structured and self._knows_schema:
            body["response_format"] = {"type": "json_schema", "json_schema": {"name": "scene", "strict": True, "schema": SCHEMA}}
        return body

    async def _answered(self, body: dict[str, Any], say: Say | None) -> _Answer:
        try:
            return await self._streamed(body, say)
        except SettingInvalid as error:
            refusal = error.__cause__
            if not isinstance(refusal, Refusal) or refusal.status not in (400, 422) or "response_format" not in body:
                raise
            plain = {key: value for key, value in body.items() if key != "response_format"}
            answer = await self._streamed(plain, say)
            # It was the schema that the server did not want; the reply is checked here in any case.
            self._knows_schema = False
            log.warning("server_knows_no_schema", model=self.name)
            return answer

    async def _streamed(self, body: dict[str, Any], say: Say | None) -> _Answer:
        answer = _Answer()

        def begin() -> None:
            nonlocal answer
            answer = _Answer()

        def take(event: Event) -> None:
            try:
                answer.revision = str(event.get("system_fingerprint") or event.get("model") or "")
                for choice in event.get("choices") or ():
                    answer.parts.append(choice["delta"].get("content") or "")
                    answer.cut_off = answer.cut_off or choice.get("finish_reason") == "length"
            except (KeyError, TypeError, AttributeError) as error:
                raise ModelMismatch(f"{self._server.url} tells no chat completion that is understood ({type(error).__name__})") from error
            if say is not None and any(answer.parts):
                say("".join(answer.parts))

        await self._server.stream("chat/completions", body, take, begin)
        return answer


@dataclass(frozen=True)
class _Numbered:
    number: int
    score: float
