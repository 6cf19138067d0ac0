"""The policy file: YAML with a closed schema, read to policies for every stream; what is wrong is told by line.

    policies:                       # at least one
      - name: competitor-logos      # lower-case letters, digits and hyphens; each once
        extends: violence-gore      # optional: what is not said here is taken from that policy
        description: The image shall not contain the logo of another broadcaster.
        applies_to: [frame]         # of frame, speech, description, question, answer
        threshold: 0.7              # 0 to 1
        action: withhold            # allow, flag, redact or withhold
        on_error: flag              # flag or withhold
        judged_by: [shieldgemma-2]  # optional: which rules and models may judge it
        frames: pixelate            # optional: how a frame is redacted, pixelate or replace
        keep_content: false         # optional: whether the audit keeps, encrypted, what is withheld under it
        enabled: true               # optional: false leaves it to overrides
    tenants:                        # optional: what differs for a tenant's streams
      - {name: acme, streams: ["acme-*"], policies: {profanity: {action: flag}}}
    streams:                        # optional: what differs for streams, over what a tenant says
      - {match: "acme-kids-*", policies: {profanity: {action: withhold}}}

`description`, `threshold`, `action` and `on_error` are one value, or a mapping with one for each subject.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

from watchword.v1.safety_pb2 import Action

from pipeline.errors import SettingInvalid
from pipeline.safety.judges import known
from pipeline.safety.policy import ON_ERROR, FrameRedaction, Policy, PolicySet, Subject

SHIPPED = Path(__file__).with_name("policies.yaml")
"""The policies where nobody names a file."""

MAX_BYTES = 1_000_000
MAX_DEPTH = 12
MAX_POLICIES = 100
MAX_CHARACTERS = 4000
"""The longest description."""

_NAME = re.compile("[a-z0-9]+(-[a-z0-9]+)*")
_ACTIONS = {
    "allow": Action.ACTION_ALLOW,
    "flag": Action.ACTION_FLAG,
    "redact": Action.ACTION_REDACT,
    "withhold": Action.ACTION_BLOCK,
}
_AFTER_ERROR = {"flag": Action.ACTION_FLAG, "withhold": Action.ACTION_BLOCK}
_SUBJECTS = {subject.value: subject for subject in Subject}
_CHANGEABLE = frozenset(["description", "applies_to", "threshold", "action", "on_error", "judged_by", "frames", "keep_content", "enabled"])
_NEEDED = ("description", "applies_to", "threshold", "action")


@dataclass(frozen=True)
class _At:
    """A value of the file and the line on which it starts, from 1."""

    value: Any
    line: int


@dataclass(frozen=True)
class _Override:
    patterns: tuple[str, ...]
    changes: Mapping[str, Mapping[str, _At]]


@dataclass(frozen=True)
class PolicyFile:
    """What a policy file says; asked for the policies of one stream after another."""

    raw: Mapping[str, Mapping[str, _At]]
    tenants: Mapping[str, _Override] = field(default_factory=dict)
    streams: Sequence[_Override] = ()

    def of(self, stream_id: str) -> PolicySet:
        """The policies of a stream: those of the file, changed as its tenant says, then as the first rule that matches it says."""
        return self._combined(self._rules(stream_id))

    def tenant_of(self, stream_id: str) -> str:
        """The tenant to whom a stream belongs; empty where it is nobody's."""
        return next((name for name, tenant in self.tenants.items() if _matches(tenant, stream_id)), "")

    def keeps_content(self) -> int:
        """The first line that asks to keep what is withheld; 0 where none does."""
        said = [*self.raw.values(), *(change for each in (*self.tenants.values(), *self.streams) for change in each.changes.values())]
        return min((each["keep_content"].line for each in said if "keep_content" in each and each["keep_content"].value), default=0)

    def _rules(self, stream_id: str) -> tuple[int, ...]:
        """Which overrides hold: indices into tenants, then streams."""
        overrides = [*self.tenants.values(), *self.streams]
        border = len(self.tenants)
        tenant = next((n for n in range(border) if _matches(overrides[n], stream_id)), None)
        stream = next((n for n in range(border, len(overrides)) if _matches(overrides[n], stream_id)), None)
        return tuple(n for n in (tenant, stream) if n is not None)

    def _combined(self, rules: tuple[int, ...]) -> PolicySet:
        overrides = [*self.tenants.values(), *self.streams]
        policies = {}
        for name, said in self.raw.items():
            merged = dict(said)
            for number in rules:
                merged |= overrides[number].changes.get(name, {})
            if "enabled" not in merged or merged["enabled"].value:
                policies[name] = _policy(name, {key: at.value for key, at in merged.items()})
        return PolicySet.of(policies)


def read(path: Path = SHIPPED) -> PolicyFile:
    """Read a policy file; raises `SettingInvalid`, which names file and line of everything that is wrong."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SettingInvalid(f"the policy file {path} has more than {MAX_BYTES:,} bytes")
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingInvalid(f"the policy file {path} cannot be read: {error}") from error
    return parse(text, name=str(path))


def parse(text: str, *, name: str = "policies") -> PolicyFile:
    """The policies that a YAML text says; raises `SettingInvalid` as `read` does."""
    reader = _Reader(name)
    file = reader.file(_load(text, name))
    if reader.problems:
        raise SettingInvalid("wrong policies: " + "; ".join(f"{name}:{line}: {what}" for line, what in sorted(set(reader.problems))))
    return file


def _load(text: str, name: str) -> Any:
    """The YAML's node, without aliases and not too deep, so that no text makes reading it slow."""
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        depth = 0
        for event in yaml.parse(text, Loader=loader):
            line = event.start_mark.line + 1 if event.start_mark is not None else 1
            if isinstance(event, yaml.AliasEvent):
                _refuse(name, line, f"aliases (*{event.anchor}) are not read here: they can go round in a circle")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                _refuse(name, line, f"nothing of a policy lies deeper than {MAX_DEPTH} levels")
        node = yaml.compose(text, Loader=loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        # What is missing at the end is missed on the line after it.
        line = min(mark.line + 1, max(1, len(text.splitlines()))) if mark is not None else 1
        _refuse(name, line, f"this is no YAML: {getattr(error, 'problem', None) or 'a character that YAML does not allow'}")
    if node is None:
        _refuse(name, 1, "it is empty: a list `policies` is needed")
    return node


def _refuse(name: str, line: int, what: str) -> NoReturn:
    raise SettingInvalid(f"wrong policies: {name}:{line}: {what}")


class _Reader:
    """Goes through the nodes of a file and collects what is wrong."""

    def __init__(self, name: str) -> None:
        self.problems: list[tuple[int, str]] = []
        self._name = name

    def wrong(self, line: int, what: str) -> None:
        self.problems.append((line, what))

    def file(self, node: Any) -> PolicyFile:
        said = self.mapping(node, {"policies", "tenants", "streams"}, "the file", needed=("policies",))
        raw = self.policies(said["policies"]) if "policies" in said else {}
        tenants: dict[str, _Override] = {}
        for each in self.items(said.get("tenants")):
            keys = self.mapping(each, {"name", "streams", "policies"}, "a tenant", needed=("name", "streams", "policies"))
            tenant = self.text(keys["name"]) if "name" in keys else ""
            if tenant in tenants:
                self.wrong(_line(keys["name"]), f"the tenant {tenant!r} is there twice")
            patterns = tuple(self.text(pattern) for pattern in self.items(keys.get("streams")))
            tenants[tenant] = _Override(patterns, self.changes(keys.get("policies"), raw))
        streams = []
        for each in self.items(said.get("streams")):
            keys = self.mapping(each, {"match", "policies"}, "a rule for streams", needed=("match", "policies"))
            match = self.text(keys["match"]) if "match" in keys else ""
            streams.append(_Override((match,), self.changes(keys.get("policies"), raw)))
        return PolicyFile(raw, tenants, tuple(streams))

    def policies(self, node: Any) -> dict[str, dict[str, _At]]:
        own: dict[str, dict[str, _At]] = {}
        parents: dict[str, _At] = {}
        items = self.items(node)
        if not items:
            self.wrong(_line(node), "a list of at least one policy is needed")
        if len(items) > MAX_POLICIES:
            self.wrong(_line(node), f"there are {len(items)} policies: at most {MAX_POLICIES} are judged")
        for each in items[:MAX_POLICIES]:
            said = self.mapping(each, {"name", "extends", *_CHANGEABLE}, "a policy", needed=("name",))
            if "name" not in said:
                continue
            name = self.text(said["name"])
            if not _NAME.fullmatch(name):
                self.wrong(_line(said["name"]), f"{name!r} is no name: lower-case letters, digits and single hyphens are")
            if name in own:
                self.wrong(_line(said["name"]), f"the policy {name!r} is there twice")
                continue
            own[name] = self.fields(said)
            own[name]["name"] = _At(name, _line(each))
            if "extends" in said:
                parents[name] = _At(self.text(said["extends"]), _line(said["extends"]))
        return {name: self.whole(name, own, parents) for name in own}

    def whole(self, name: str, own: dict[str, dict[str, _At]], parents: dict[str, _At]) -> dict[str, _At]:
        """A policy with what it takes over from those that it extends."""
        line = own[name]["name"].line
        chain = [name]
        while (parent := parents.get(chain[-1])) is not None:
            if parent.value in chain:
                self.wrong(parent.line, f"policies extend each other in a circle: {' -> '.join([*chain, parent.value])}")
                break
            if parent.value not in own:
                self.wrong(parent.line, f"there is no policy {parent.value!r} to extend")
                break
            chain.append(parent.value)
        merged: dict[str, _At] = {}
        for each in reversed(chain):
            merged |= own[each]
        for key in _NEEDED:
            if key not in merged:
                self.wrong(line, f"the policy {name!r} lacks {key!r}")
        self.fits(name, merged)
        return merged

    def fits(self, name: str, said: Mapping[str, _At]) -> None:
        """Tell what two of a policy's values together make wrong."""
        if not {*_NEEDED} <= said.keys():
            return
        applies = said["applies_to"].value
        for key in ("threshold", "action", "description"):
            if isinstance(said[key].value, Mapping):
                for subject in sorted(applies - said[key].value.keys(), key=lambda subject: subject.value):
                    self.wrong(said[key].line, f"the policy {name!r} applies to {subject.value}, for which no {key} is said")

    def changes(self, node: Any, raw: Mapping[str, Mapping[str, _At]]) -> dict[str, dict[str, _At]]:
        changes = {}
        for name, each in self.mapping(node, None, "policies").items() if node is not None else ():
            if name not in raw:
                self.wrong(_line(each), f"there is no policy {name!r} to change")
                continue
            changes[name] = self.fields(self.mapping(each, set(_CHANGEABLE), f"a change of {name!r}"))
            self.fits(name, {**raw[name], **changes[name]})
        return changes

    def fields(self, said: Mapping[str, Any]) -> dict[str, _At]:
        readers: dict[str, Callable[[Any], Any]] = {
            "description": lambda node: self.each(node, self.description),
            "applies_to": self.subjects,
            "threshold": lambda node: self.each(node, self.probability),
            "action": lambda node: self.each(node, lambda one: self.choice(one, _ACTIONS)),
            "on_error": lambda node: self.each(node, lambda one: self.choice(one, _AFTER_ERROR)),
            "judged_by": lambda node: tuple(self.judge(one) for one in self.items(node)),
            "frames": lambda node: self.choice(node, {way.value: way for way in FrameRedaction}),
            "keep_content": self.truth,
            "enabled": self.truth,
        }
        return {key: _At(readers[key](node), _line(node)) for key, node in said.items() if key in readers}

    def mapping(self, node: Any, keys: set[str] | None, what: str, *, needed: Sequence[str] = ()) -> dict[str, Any]:
        import yaml

        if not isinstance(node, yaml.MappingNode):
            self.wrong(_line(node), f"{what} is a mapping of keys to values")
            return {}
        said: dict[str, Any] = {}
        for key_node, value in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else ""
            if keys is not None and key not in keys:
                self.wrong(_line(key_node), f"{key!r} is not known to {what}; {', '.join(sorted(keys))} are")
            elif key in said:
                self.wrong(_line(key_node), f"{key!r} is said twice")
            else:
                said[key] = value
        for key in needed:
            if key not in said:
                self.wrong(_line(node), f"{what} lacks {key!r}")
        return said

    def items(self, node: Any) -> list[Any]:
        import yaml

        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode):
            self.wrong(_line(node), "a list is needed")
            return []
        return list(node.value)

    def each(self, node: Any, read: Callable[[Any], Any]) -> Any:
        """One value, or a mapping with one for each subject."""
        import yaml

        if not isinstance(node, yaml.MappingNode):
            return read(node)
        return {_SUBJECTS[key]: read(value) for key, value in self.mapping(node, {*_SUBJECTS}, "a value for each subject").items()}

    def text(self, node: Any) -> str:
        import yaml

        if not isinstance(node, yaml.ScalarNode) or not node.value.strip():
            self.wrong(_line(node), "a text is needed")
            return ""
        return str(node.value).strip()

    def description(self, node: Any) -> str:
        text = self.text(node)
        if len(text) > MAX_CHARACTERS:
            self.wrong(_line(node), f"a description has at most {MAX_CHARACTERS:,} characters")
        if "<start_of_turn>" in text or "<end_of_turn>" in text:
            self.wrong(_line(node), "a description is the policy's text alone, not a whole prompt")
        return text

    def probability(self, node: Any) -> float:
        text = self.text(node)
        # No "nan", "inf" or "1e-3": what a person reads here is a plain number.
        if not re.fullmatch(r"\d{1,3}(\.\d{1,9})?", text) or not 0 < float(text) <= 1:
            self.wrong(_line(node), f"{text!r} is no threshold: a number over 0, up to 1, is")
            return 1.0
        return float(text)

    def choice(self, node: Any, choices: Mapping[str, Any]) -> Any:
        text = self.text(node)
        if text not in choices:
            self.wrong(_line(node), f"{text!r} is none of {', '.join(choices)}")
            return next(iter(choices.values()))
        return choices[text]

    def subjects(self, node: Any) -> frozenset[Subject]:
        found = frozenset(self.choice(one, _SUBJECTS) for one in self.items(node))
        if not found:
            self.wrong(_line(node), f"it applies to nothing; to some of {', '.join(_SUBJECTS)} it could")
        return found

    def judge(self, node: Any) -> str:
        text = self.text(node)
        # A name that nobody has would leave the policy unscored for good.
        if text and text not in known():
            self.wrong(_line(node), f"nothing that judges is called {text!r}; {', '.join(sorted(known()))} are")
        return text

    def truth(self, node: Any) -> bool:
        return bool(self.choice(node, {"true": True, "false": False}))


def _line(node: Any) -> int:
    return 1 if node is None else int(node.start_mark.line) + 1


@lru_cache(maxsize=8192)
def _fnmatch(stream_id: str, pattern: str) -> bool:
    return fnmatchcase(stream_id, pattern)


def _matches(override: _Override, stream_id: str) -> bool:
    return any(_fnmatch(stream_id, pattern) for pattern in override.patterns)


def _policy(name: str, said: Mapping[str, Any]) -> Policy:
    description, threshold, action = said["description"], said["threshold"], said["action"]
    on_error = said.get("on_error", {})
    return Policy(
        name,
        _first(description),
        said["applies_to"],
        _first(threshold),
        _first(action),
        wordings=_by_subject(description),
        thresholds=_by_subject(threshold),
        actions=_by_subject(action),
        on_error={**ON_ERROR, **on_error} if isinstance(on_error, Mapping) else dict.fromkeys(Subject, on_error),
        judged_by=said.get("judged_by", ()),
        frames=said.get("frames", FrameRedaction.PIXELATE),
        keep_content=said.get("keep_content", False),
    )


def _first(value: Any) -> Any:
    return next(iter(value.values())) if isinstance(value, Mapping) else value


def _by_subject(value: Any) -> Mapping[Subject, Any]:
    return value if isinstance(value, Mapping) else {}
