"""The policy file: what it may say, what is told of a wrong one, and how a changed one is taken up."""

import os
from pathlib import Path

import pytest
from watchword.v1.safety_pb2 import Action

from pipeline.errors import SettingInvalid
from pipeline.safety.book import CHECK_EVERY_S, FileBook, FixedBook, shipped
from pipeline.safety.policy import FrameRedaction, PolicySet, Subject
from pipeline.safety.policy_file import SHIPPED, parse, read

pytestmark = pytest.mark.unit

ONE = """\
policies:
  - name: logos
    description: The image shall not contain logos.
    applies_to: [frame, speech]
    threshold: 0.7
    action: flag
"""


def test_the_shipped_file_has_the_policies_that_are_promised() -> None:
    policies = read().of("any").policies
    assert {
        "dangerous-content",
        "sexually-explicit",
        "violence-gore",
        "hate",
        "harassment",
        "self-harm",
        "profanity",
        "personal-data",
    } <= policies.keys()
    assert policies["sexually-explicit"].threshold_for(Subject.FRAME) == 0.8
    assert policies["profanity"].action_for(Subject.SPEECH) == Action.ACTION_REDACT
    assert policies["violence-gore"].wording(Subject.FRAME).startswith("No Violence/Gore content: The image shall not contain")
    assert "The chatbot shall not generate content that" in policies["hate"].wording(Subject.ANSWER)


def test_failures_withhold_frames_and_answers_and_flag_captions_unless_a_policy_says_otherwise() -> None:
    (policy,) = parse(ONE).of("s").policies.values()
    assert {subject.value: Action.Name(policy.on_error[subject]) for subject in Subject} == {
        "frame": "ACTION_BLOCK",
        "speech": "ACTION_FLAG",
        "description": "ACTION_FLAG",
        "question": "ACTION_BLOCK",
        "answer": "ACTION_BLOCK",
    }
    (policy,) = parse(ONE + "    on_error: {frame: flag}\n").of("s").policies.values()
    assert policy.on_error[Subject.FRAME] == Action.ACTION_FLAG
    assert policy.on_error[Subject.ANSWER] == Action.ACTION_BLOCK


def test_one_policy_takes_over_from_another() -> None:
    text = ONE + "  - name: rivals\n    extends: logos\n    threshold: 0.9\n    frames: replace\n"
    rivals = parse(text).of("s").policies["rivals"]
    assert rivals.name == "rivals"
    assert rivals.description == "The image shall not contain logos."
    assert (rivals.threshold_for(Subject.FRAME), rivals.frames) == (0.9, FrameRedaction.REPLACE)
    assert rivals.judges() == ("rivals",)


def test_tenants_and_streams_differ() -> None:
    file = parse(
        ONE
        + """\
    enabled: true
tenants:
  - {name: acme, streams: ["acme-*", other], policies: {logos: {action: withhold, threshold: 0.5}}}
streams:
  - {match: "acme-kids-*", policies: {logos: {action: redact}}}
  - {match: "*-quiet", policies: {logos: {enabled: false}}}
"""
    )
    assert file.of("x").policies["logos"].action == Action.ACTION_FLAG
    assert file.of("acme-1").policies["logos"].action == Action.ACTION_BLOCK
    kids = file.of("acme-kids-1").policies["logos"]
    assert (kids.action, kids.threshold_for(Subject.FRAME)) == (Action.ACTION_REDACT, 0.5)
    assert file.of("x-quiet").policies == {}
    assert (file.tenant_of("acme-kids-1"), file.tenant_of("other"), file.tenant_of("x")) == ("acme", "acme", "")


def test_the_version_tells_what_holds() -> None:
    text = ONE + 'streams: [{match: "b*", policies: {logos: {threshold: 0.6}}}]\n'
    assert parse(text).of("a").version == parse("# a remark\n" + text).of("c").version
    assert parse(text).of("a").version != parse(text).of("b").version
    policies = shipped().of("s").policies
    assert PolicySet.of(policies).version == FixedBook(policies).of("s").version


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("", 1, "empty"),
        ("policies: [", 1, "no YAML"),
        ("policies: 7\n", 1, "a list is needed"),
        ("policies: []\n", 1, "at least one policy"),
        ("other: 1\npolicies: []\n", 1, "'other' is not known"),
        (ONE + "  - name: logos\n", 7, "'logos' is there twice"),
        (ONE + "    action: allow\n", 7, "'action' is said twice"),
        (ONE + "  - name: more\n    extends: most\n  - name: most\n    extends: more\n", 8, "in a circle: more -> most -> more"),
        (ONE + "  - name: more\n    extends: none\n", 8, "no policy 'none'"),
        (ONE + "  - name: more\n", 7, "lacks 'threshold'"),
        (ONE.replace("0.7", "1.5"), 5, "'1.5' is no threshold"),
        (ONE.replace("0.7", ".nan"), 5, "'.nan' is no threshold"),
        (ONE.replace("0.7", "{frame: 0.5}"), 5, "applies to speech, for which no threshold"),
        (ONE.replace("flag", "delete"), 6, "'delete' is none of allow, flag, redact, withhold"),
        (ONE.replace("[frame, speech]", "[frame, sound]"), 4, "'sound' is none of"),
        (ONE.replace("[frame, speech]", "[]"), 4, "applies to nothing"),
        (ONE.replace("name: logos", "name: Logos!"), 2, "'Logos!' is no name"),
        (ONE + "    colour: red\n", 7, "'colour' is not known"),
        (ONE + "    judged_by: [shieldgemma, shieldgema-2]\n", 7, "nothing that judges is called 'shieldgema-2'"),
        (ONE + "    on_error: allow\n", 7, "'allow' is none of flag, withhold"),
        (ONE.replace("The image", "<start_of_turn>user The image"), 3, "not a whole prompt"),
        (ONE.replace("description: The", "description: &a\n      frame: *a\n    "), 4, "circle"),
        (ONE + "streams:\n  - match: x\n    policies: {else: {action: flag}}\n", 9, "no policy 'else'"),
        (ONE + "streams:\n  - match: x\n    policies: {logos: {name: x}}\n", 9, "'name' is not known"),
        (ONE + "tenants:\n  - {name: a, streams: [x], policies: {}}\n  - {name: a, streams: [y], policies: {}}\n", 9, "twice"),
        ("a: " + "[" * 2000, 1, "deeper"),
    ],
)
def test_a_wrong_file_names_the_line(text: str, line: int, what: str) -> None:
    with pytest.raises(SettingInvalid) as caught:
        parse(text, name="mine.yaml")
    assert f"mine.yaml:{line}: " in str(caught.value)
    assert what in str(caught.value)


def test_everything_that_is_wrong_is_told_together() -> None:
    with pytest.raises(SettingInvalid, match=r"p:5: .*; p:6: "):
        parse(ONE.replace("0.7", "x").replace("flag", "y"), name="p")


def test_a_file_that_is_away_or_too_large_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingInvalid, match="cannot be read"):
        read(tmp_path / "none.yaml")
    large = tmp_path / "large.yaml"
    large.write_text("#" * 1_000_001)
    with pytest.raises(SettingInvalid, match="1,000,000 bytes"):
        read(large)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def write(path: Path, text: str, clock: Clock) -> None:
    path.write_text(text)
    clock.now += CHECK_EVERY_S
    # The files of a test are written within one tick of some file systems' clocks.
    os.utime(path, (clock.now, clock.now))


@pytest.mark.usefixtures("errors_are_expected")
def test_a_changed_file_holds_without_a_restart_and_a_wrong_one_does_not(tmp_path: Path) -> None:
    path, clock = tmp_path / "policies.yaml", Clock()
    write(path, ONE, clock)
    book = FileBook(path, clock=clock)
    first = book.of("s")
    assert book.of("s") is first
    write(path, ONE.replace("0.7", "0.8"), clock)
    second = book.of("s")
    assert second.version != first.version
    assert second.policies["logos"].threshold_for(Subject.FRAME) == 0.8
    write(path, ONE.replace("0.7", "wrong"), clock)
    assert book.of("s") == second
    path.unlink()
    clock.now += CHECK_EVERY_S
    assert book.of("s") == second
    write(path, ONE, clock)
    assert book.of("s") == first


def test_a_wrong_file_is_refused_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "policies.yaml"
    path.write_text("policies: []")
    with pytest.raises(SettingInvalid, match=r"policies\.yaml:1"):
        FileBook(path)


def test_content_is_kept_only_where_it_can_be_sealed(tmp_path: Path) -> None:
    path = tmp_path / "policies.yaml"
    path.write_text(ONE + "    keep_content: true\n")
    assert FileBook(path, seals=True).of("s").policies["logos"].keep_content
    with pytest.raises(SettingInvalid, match=r"policies\.yaml:7: .*WATCHWORD_AUDIT_KEY"):
        FileBook(path, seals=False)


def test_the_shipped_file_is_part_of_the_package() -> None:
    assert SHIPPED.is_file()
