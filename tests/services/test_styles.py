"""How single streams are described: read from a file, or refused by entry."""

from pathlib import Path

import pytest

from pipeline.caption.style import PLAIN, Style
from services.captioner.styles import read_styles, style_of

pytestmark = pytest.mark.unit


def test_the_first_rule_that_matches_holds(tmp_path: Path) -> None:
    path = tmp_path / "styles.toml"
    path.write_text(
        """
        [[stream]]
        match = "shop-*"
        structured = true
        prompt = "A shop's camera."
        voice = "calm"
        language = "pt-BR"
        words = 20
        forbidden = ["customer"]
        adapter = "shop"

        [[stream]]
        match = "*"
        words = 30
        """
    )
    rules = read_styles(path)
    assert style_of("shop-7", rules) == Style(True, "A shop's camera.", "calm", "pt-BR", 20, ("customer",), "shop")
    assert style_of("street", rules) == Style(words=30)
    assert style_of("street", ()) == PLAIN


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("[[stream]]\nwords = 3", "stream 1: 'match' is missing"),
        ("[[stream]]\nmatch = 'a b'", "a stream id is needed"),
        ("[[stream]]\nmatch = '*'\nwords = true", "words: a whole number"),
        ("[[stream]]\nmatch = '*'\nwords = 4000", "1 to 400 words"),
        ("[[stream]]\nmatch = '*'\nforbidden = 'x'", "forbidden: a list of texts"),
        ("[[stream]]\nmatch = '*'\nlanguage = 'Klingon!'", "stream 1: 'Klingon!' is no BCP 47 language"),
        ("[[stream]]\nmatch = '*'\nlanguage = 'auto'", "'auto' is no BCP 47 language"),
        ("[[stream]]\nmatch = '*'\nlanguage = 3", "language: a text"),
        ("[[stream]]\nmatch = '*'\nforbidden = ['" + "x" * 101 + "']", "at most 100 characters each"),
        ("[[stream]]\nmatch = '*'\nmood = 'x'", "'mood' is not known"),
        ("[[stream]]\nmatch = '*'\nstructured = 1", "structured: true or false"),
        ("[[stream]]\nmatch = '*'\nvoice = 1", "voice: a text"),
        ("stream = 3", "each rule begins with"),
        ("style = 3", "'style' is not known"),
        ("[[stream", "no TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, cause: str) -> None:
    path = tmp_path / "styles.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"styles\.toml") as refused:
        read_styles(path)
    assert cause in str(refused.value)
