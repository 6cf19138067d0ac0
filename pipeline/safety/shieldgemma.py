"""ShieldGemma and ShieldGemma 2 in this process: one forward pass over what all policies share, one over what differs.

The score is P(Yes) of a softmax over the logits of the tokens "Yes" and "No" alone, at the place where the answer would begin:
column 0 of ShieldGemma 2's `probabilities` (its docstring names column 1 as the violation, and is wrong).
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.batcher import Batcher
from pipeline.errors import ModelMismatch, ModelMissing
from pipeline.jpeg import decoded
from pipeline.safety import prompts
from pipeline.safety.policy import Policy, Subject
from pipeline.safety.scorer import may_judge

TEXT_POLICIES = frozenset(["dangerous-content", "hate", "harassment", "sexually-explicit"])
"""What the text models were trained to judge (their card, "Guidelines")."""
IMAGE_POLICIES = frozenset(["dangerous-content", "sexually-explicit", "violence-gore"])
"""What the image model was trained to judge (its card, "Description")."""
MAX_TOKENS = 6144
"""Of a prompt: Gemma 2 reads 8,192, and a text of 20,000 characters has fewer in most scripts."""


@dataclass(frozen=True)
class _Asked:
    content: str | bytes
    subject: Subject
    policies: tuple[Policy, ...]
    question: str


class _ShieldGemma(ABC):
    """What both models share: a thread of their own, and scores from token rows."""

    name: str
    kind: str
    trained: frozenset[str]

    def __init__(self, network: Any, digest: str, yes: int, no: int, pad: int) -> None:
        self._network = network
        self._yes, self._no, self._pad = yes, no, pad
        self.digest = digest
        # One item after another: an item's policies already fill a batch, and items share no prefix.
        self._batcher: Batcher[_Asked, Mapping[str, float]] = Batcher(self._run, name=self.name, most=1)

    def covers(self, policy: Policy, subject: Subject) -> bool:
        """See `PolicyScorer`; a policy that it was not trained for is judged only where that names it as its judge."""
        return subject.kind.value == self.kind and may_judge(self.name, policy, self.trained)

    async def score(self, content: str | bytes, subject: Subject, policies: Sequence[Policy], *, question: str = "") -> Mapping[str, float]:
        """See `PolicyScorer`."""
        return await self._batcher.submit(_Asked(content, subject, tuple(policies), question), key=self.name)

    def close(self) -> None:
        """Take no more items."""
        self._batcher.close()

    def _run(self, items: Sequence[_Asked]) -> list[Mapping[str, float] | Exception]:
        return [self._score(item) for item in items]

    @abstractmethod
    def _score(self, item: _Asked) -> Mapping[str, float]:
        """The probability of each policy of one item."""

    def _probabilities(self, rows: Sequence[Sequence[int]], **first: Any) -> list[float]:
        """P(Yes) for each row of token ids, which begin alike; `first` goes to the network with what they share."""
        import torch

        shared = shared_prefix(rows)
        tails = [list(row[shared:]) for row in rows]
        longest = max(map(len, tails))
        device = self._network.device
        with torch.inference_mode():
            prefix = torch.tensor([rows[0][:shared]], device=device)
            known = self._forward(input_ids=prefix, use_cache=True, logits_to_keep=1, **first).past_key_values
            known.batch_repeat_interleave(len(rows))
            # Padded on the right: what stands behind a row's last token is seen by nobody before it.
            tail = torch.tensor([row + [self._pad] * (longest - len(row)) for row in tails], device=device)
            places = torch.arange(shared, shared + longest, device=device).expand(len(rows), -1)
            logits = self._forward(input_ids=tail, position_ids=places, past_key_values=known, use_cache=True).logits
            last = torch.tensor([len(row) - 1 for row in tails], device=device)
            chosen = logits[torch.arange(len(rows), device=device), last][:, [self._yes, self._no]]
            return [float(probability) for probability in torch.softmax(chosen.float(), dim=-1)[:, 0]]

    def _forward(self, **inputs: Any) -> Any:
        return self._network(**inputs)


class ShieldGemmaText(_ShieldGemma):
    """google/shieldgemma-2b, -9b and -27b, or another checkpoint of `Gemma2ForCausalLM` that answers the same prompts."""

    name = "shieldgemma"
    kind = "text"
    trained = TEXT_POLICIES

    def __init__(self, network: Any, tokenizer: Any, *, digest: str = "") -> None:
        yes, no = yes_and_no(tokenizer)
        super().__init__(network, digest, yes, no, tokenizer.pad_token_id or 0)
        self._tokenizer = tokenizer

    def _score(self, item: _Asked) -> Mapping[str, float]:
        assert isinstance(item.content, str)
        texts = [prompts.shieldgemma(item.content, policy, item.subject, question=item.question) for policy in item.policies]
        rows = [list(self._tokenizer(text)["input_ids"]) for text in texts]
        if max(map(len, rows)) > MAX_TOKENS:
            # Cut, the prompt would lose the policy or the question; whoever asked learns that it was not judged.
            raise ModelMismatch(f"a text of {len(item.content):,} characters has more than {MAX_TOKENS:,} tokens; it was not judged")
        return dict(zip((policy.name for policy in item.policies), self._probabilities(rows), strict=True))


class ShieldGemmaImage(_ShieldGemma):
    """google/shieldgemma-2-4b-it, or another checkpoint of `ShieldGemma2ForImageClassification`."""

    name = "shieldgemma-2"
    kind = "picture"
    trained = IMAGE_POLICIES

    def __init__(self, network: Any, processor: Any, *, digest: str = "") -> None:
        super().__init__(network, digest, network.yes_token_index, network.no_token_index, processor.tokenizer.pad_token_id or 0)
        self._processor = processor

    def _score(self, item: _Asked) -> Mapping[str, float]:
        assert isinstance(item.content, bytes)
        inputs = self.inputs(item.content, item.policies)
        rows = [
            [token for token, counts in zip(row, mask, strict=True) if counts]
            for row, mask in zip(inputs["input_ids"].tolist(), inputs["attention_mask"].tolist(), strict=True)
        ]
        shared = shared_prefix(rows)
        kinds = [
            kind for kind, counts in zip(inputs["token_type_ids"][0].tolist(), inputs["attention_mask"][0].tolist(), strict=True) if counts
        ]
        if any(kinds[shared:]):
            raise ModelMismatch("the chat template puts the picture behind the policy: what policies share does not hold it")
        import torch

        device, dtype = self._network.device, self._network.dtype
        # The picture is looked at once; its tokens see each other both ways, which `token_type_ids` tells.
        scores = self._probabilities(
            rows,
            pixel_values=inputs["pixel_values"][:1].to(device, dtype),
            token_type_ids=torch.tensor([kinds[:shared]], device=device),
        )
        return dict(zip((policy.name for policy in item.policies), scores, strict=True))

    def inputs(self, jpeg: bytes, policies: Sequence[Policy]) -> Any:
        """What the processor makes of a JPEG and policies: one row a policy. Raises `MediaUndecodable`."""
        wordings = {policy.name: policy.wording(Subject.FRAME) for policy in policies}
        return self._processor(images=[decoded(jpeg)], custom_policies=wordings, policies=list(wordings), return_tensors="pt")

    def _forward(self, **inputs: Any) -> Any:
        # The classifier's own forward tells the last place of each row only, which behind padding is not the last token.
        return self._network.model(**inputs)


def shared_prefix(rows: Sequence[Sequence[int]]) -> int:
    """How many tokens the rows begin with in common, at least one of each row left over."""
    most = min(map(len, rows)) - 1
    first = rows[0]
    return next((place for place in range(most) if any(row[place] != first[place] for row in rows)), most)


def yes_and_no(tokenizer: Any) -> tuple[int, int]:
    """The ids of the tokens "Yes" and "No"; raises `ModelMismatch` where the tokenizer has no such tokens."""
    vocabulary = tokenizer.get_vocab()
    missing = [word for word in (prompts.YES, prompts.NO) if word not in vocabulary]
    if missing:
        raise ModelMismatch(f"the tokenizer has no token {' and no token '.join(missing)}: this is no model that answers Yes or No")
    return vocabulary[prompts.YES], vocabulary[prompts.NO]


def load_text(directory: Path) -> ShieldGemmaText:
    """A checkpoint directory of the text model; raises `ModelMissing` or `ModelMismatch`. Nothing is fetched, no code of it runs."""
    from transformers import AutoTokenizer, Gemma2ForCausalLM

    network = _load(directory, Gemma2ForCausalLM)
    return ShieldGemmaText(network, _part(directory, AutoTokenizer), digest=_digest(directory))


def load_image(directory: Path) -> ShieldGemmaImage:
    """As `load_text`, of the image model."""
    from transformers import AutoProcessor, ShieldGemma2ForImageClassification

    network = _load(directory, ShieldGemma2ForImageClassification)
    return ShieldGemmaImage(network, _part(directory, AutoProcessor), digest=_digest(directory))


def _load(directory: Path, architecture: Any) -> Any:
    import torch
    from safetensors import SafetensorError
    from transformers.utils.logging import disable_progress_bar

    if not (directory / "config.json").is_file() or not any(directory.glob("*.safetensors")):
        raise ModelMissing(f"{directory} holds no checkpoint: config.json and .safetensors are needed")
    try:
        named = json.loads((directory / "config.json").read_text("utf-8")).get("architectures") or ["none"]
    except (ValueError, AttributeError) as error:
        raise ModelMismatch(f"{directory}/config.json is not a model's configuration: {error}") from error
    if architecture.__name__ not in named:
        # Loaded all the same, the library would make up a network of its own size and fill it with noise.
        raise ModelMismatch(f"{directory} is a checkpoint of {', '.join(map(str, named))}; {architecture.__name__} is needed")
    disable_progress_bar()  # type: ignore[no-untyped-call]
    device, dtype = ("cuda", torch.bfloat16) if torch.cuda.is_available() else ("cpu", torch.float32)
    try:
        network, told = architecture.from_pretrained(
            directory, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=dtype, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise ModelMismatch(f"{directory} cannot be loaded as a {architecture.__name__}: {error}") from error
    if told["missing_keys"]:
        raise ModelMismatch(
            f"{directory} lacks {len(told['missing_keys'])} tensors of a {architecture.__name__}, such as {min(told['missing_keys'])}"
        )
    return network.to(device).eval()


def _part(directory: Path, kind: Any) -> Any:
    try:
        return kind.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ModelMismatch(f"{directory} has no tokenizer or processor that can be loaded: {error}") from error


def _digest(directory: Path) -> str:
    """One SHA-256 over the names and contents of all weight files."""
    digest = hashlib.sha256()
    for path in sorted(directory.glob("*.safetensors")):
        with path.open("rb") as weights:
            digest.update(f"{path.name}\0{hashlib.file_digest(weights, 'sha256').hexdigest()}\0".encode())
    return digest.hexdigest()
