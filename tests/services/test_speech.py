"""What captions can be asked to be: languages, glossaries, rules for single streams, and what a caller asks on top."""

from pathlib import Path

import pytest

from pipeline.errors import SettingInvalid
from pipeline.transcribe.options import AUTO, Options
from services.settings import read
from services.speech import MAX_TERMS, Asked, glossary, language, read_glossary, read_rules

pytestmark = pytest.mark.unit

RULES = """
[[stream]]
match = "parliament-?"
language = "de-CH"
translate = true
glossary = ["Bundesrat", " Zürich "]

[[stream]]
match = "radio-*"
glossary = []

[[stream]]
match = "*"
language = "auto"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "streams.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "meant"), [("de", "de"), ("DE", "de"), ("pt-BR", "pt"), ("zh-Hant-TW", "zh"), ("yue", "yue"), ("auto", AUTO)]
)
def test_a_language_is_what_its_tag_begins_with(text: str, meant: str) -> None:
    assert language(text) == meant


@pytest.mark.parametrize("text", ["", "d", "german", "de_DE", "de-", "-de", "de-verylongpart", "Auto"])
def test_what_is_no_tag_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="BCP 47"):
        language(text)


def test_a_glossary_holds_each_term_once() -> None:
    assert glossary(["A  b", "", " A b", "c"]) == ("A b", "c")
    with pytest.raises(ValueError, match=f"at most {MAX_TERMS} are possible"):
        glossary([str(n) for n in range(MAX_TERMS + 1)])


def test_a_glossary_is_a_list_or_a_file(tmp_path: Path) -> None:
    path = tmp_path / "terms.txt"
    path.write_text("Harbour Conference, the\n\nWatchword\n", encoding="utf-8")
    assert read_glossary(str(path)) == ("Harbour Conference, the", "Watchword")
    assert read_glossary("Harbour Conference, Watchword,") == ("Harbour Conference", "Watchword")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="cannot be read as UTF-8"):
        read_glossary(str(path))


def test_the_first_rule_that_matches_holds_and_the_rest_stays(tmp_path: Path) -> None:
    settings = read(
        {
            "WATCHWORD_LANGUAGE": "en",
            "WATCHWORD_GLOSSARY": "Watchword",
            "WATCHWORD_STREAMS": str(write(tmp_path, RULES)),
        }
    )
    assert settings.options("parliament-1") == Options(language="de", translate=True, glossary=("Bundesrat", "Zürich"))
    assert settings.options("radio-1") == Options(language="en", glossary=())
    assert settings.options("parliament-12") == Options(language=AUTO, glossary=("Watchword",))
    assert settings.options("Radio-1") == Options(language=AUTO, glossary=("Watchword",)), "ids are told apart by case"


def test_without_rules_all_streams_are_the_same(tmp_path: Path) -> None:
    assert read({}).options("any") == Options()
    assert read_rules(write(tmp_path, "")) == ()


@pytest.mark.parametrize(
    ("text", "causes"),
    [
        ("[[stream]]\nmatch = ", ["is not TOML"]),
        ("[stream]\nmatch = 'a'", ["each rule begins with [[stream]]"]),
        ("stream = [1]", ["stream 1: it holds nothing"]),
        ("[[stream]]", ["stream 1: 'match' is missing"]),
        ("[[stream]]\nmatch = 'a b'", ["stream 1: match: a stream id is needed"]),
        ("[[stream]]\nmatch = 1", ["stream 1: match: a stream id is needed"]),
        ("[[stream]]\nmatch = 'a'\nlanguage = 'german'", ["stream 1: language: a BCP 47 language"]),
        ("[[stream]]\nmatch = 'a'\ntranslate = 'yes'", ["stream 1: translate: true or false is needed"]),
        ("[[stream]]\nmatch = 'a'\nglossary = 'x'", ["stream 1: glossary: a list of texts is needed"]),
        ("[[stream]]\nmatch = 'a'\nglossary = [1]", ["stream 1: glossary: a list of texts is needed"]),
        (
            "surprise = 1\n[[stream]]\nmatch = 'a'\n[[stream]]\nmatch = 'b'\nlang = 'de'\nglossary = 1",
            ["'surprise' is not known", "stream 2: 'lang' is not known", "stream 2: glossary"],
        ),
    ],
)
def test_what_is_wrong_with_rules_is_told_together_by_name(text: str, causes: list[str], tmp_path: Path) -> None:
    path = write(tmp_path, text)
    with pytest.raises(SettingInvalid) as refused:
        read({"WATCHWORD_STREAMS": str(path)})
    for cause in ["WATCHWORD_STREAMS", str(path), *causes]:
        assert cause in str(refused.value)


def test_what_a_caller_asks_comes_on_top() -> None:
    options = Options(language="de", translate=True, glossary=("Watchword",))
    assert Asked().over(options) == options
    asked = Asked("fr-CA", translate=False, terms=["Montréal"]).over(options)
    assert asked == Options(language="fr", translate=False, glossary=("Montréal", "Watchword"))
    with pytest.raises(SettingInvalid, match="BCP 47"):
        Asked("klingon").over(options)
