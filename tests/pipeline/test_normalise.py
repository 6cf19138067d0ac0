"""Disguises of Unicode, and the way back to the text as written."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.safety import injection, personal, words
from pipeline.safety.normalise import MOST_FOR_ONE, fold

pytestmark = pytest.mark.unit

ANY = st.text(alphabet=st.one_of(st.characters(), st.sampled_from("fuckshit@$!*'. \u200b\u202e\u0301кѕ１2🅵𝖋ﷺﬀ妈的ควย")), max_size=200)


@given(ANY)
@settings(deadline=None)
def test_every_character_knows_where_it_comes_from(text: str) -> None:
    folded = fold(text)
    assert len(folded.origins) == len(folded.text)
    assert all(0 <= place < len(text) for place in folded.origins)
    assert list(folded.origins) == sorted(folded.origins)


@given(ANY)
@settings(deadline=None)
def test_no_character_grows_beyond_a_fixed_length(text: str) -> None:
    """With one pass over the characters, this is what makes folding linear in the length of the text."""
    assert len(fold(text).text) <= MOST_FOR_ONE * len(text)


@given(ANY, ANY)
@settings(deadline=None)
def test_folding_goes_character_by_character(one: str, other: str) -> None:
    if one.isascii() and other.isascii():
        return
    assert fold(one + other).text == fold(one).text + fold(other).text


@given(ANY)
@settings(deadline=None)
def test_what_is_found_lies_in_the_text_and_masking_keeps_its_shape(text: str) -> None:
    for find in (words.find, personal.find, injection.find):
        matches = find(text)
        for match in matches:
            assert 0 <= match.start < match.end <= len(text)
        spans = [(match.start, match.end) for match in matches]
        for masked in (words.mask(text, spans), words.mask(text, [], whole=spans)):
            assert len(masked) == len(text)
            assert len(masked.split()) == len(text.split())


@given(st.sampled_from(["fuck", "shit", "cunt", "asshole"]), st.data())
@settings(deadline=None)
def test_a_word_is_found_where_it_stands_however_it_is_dressed(word: str, data: st.DataObject) -> None:
    """Each letter in another dress, with unseen characters between; what is around it is not touched."""
    dressed = ""
    for letter in word:
        dressed += data.draw(
            st.sampled_from([letter, letter.upper(), chr(ord(letter) - 97 + 0x1D586), chr(ord(letter) - 97 + 0xFF41), letter + "\u0301"])
        )
        dressed += data.draw(st.sampled_from(["", "\u200b", "\u2060", "\u00ad", "\ufe0f"]))
    dressed = dressed.rstrip("\u200b\u2060\u00ad\ufe0f")
    text = f"Über-Straße: {dressed}, é!"
    (match,) = words.find(text)
    start = len("Über-Straße: ")
    assert start == match.start
    assert unicodedata.normalize("NFKD", text[match.start : match.end]).strip() != ""
    assert text[match.end :].lstrip("\u0301\u200b\u2060\u00ad\ufe0f").startswith(", é!")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("ＦＵＣＫ", "fuck"),
        ("𝖋𝖚𝖈𝖐", "fuck"),
        ("ⓕⓤⓒⓚ", "fuck"),
        ("🅵🆄🅲🅺", "fuck"),
        ("🇫🇺🇨🇰", "fuck"),
        ("fuсk", "fuck"),
        ("ꜰᴜᴄᴋ", "fuck"),
        ("f\u200bu\u200cc\u200dk", "fuck"),
        ("\u202efuck\u202c", "fuck"),
        ("f\u0336u\u0336c\u0336k\u0336", "fuck"),
        ("fúçk", "fuck"),
        ("١٢٣", "123"),
        ("ﬁn", "fin"),
        ("เหี้ย", "เหี้ย"),
        ("ばか", unicodedata.normalize("NFKD", "ばか")),
    ],
)
def test_disguises_are_undone_and_languages_left_alone(written: str, meant: str) -> None:
    assert fold(written).text == meant


def test_a_span_covers_whole_characters() -> None:
    folded = fold("aﬀb")
    assert folded.text == "affb"
    assert folded.span(1, 2) == folded.span(2, 3) == (1, 2)
    assert folded.span(0, 4) == (0, 3)
