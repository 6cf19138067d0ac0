"""What the text of a setting says, kind by kind; each function raises `ValueError`, which says what is needed."""

import ipaddress
import math
import re
from pathlib import Path

from pipeline.caption.vlm.thinning import read_thinning
from pipeline.safety.judges import MODELS
from pipeline.served import address


def whole(text: str, least: int, most: int) -> int:
    """The whole number that a text says, between these."""
    found = int(text) if re.fullmatch("-?[0-9]{1,9}", text) else None
    if found is None or not least <= found <= most:
        raise ValueError(f"a whole number from {least} to {most} is needed")
    return found


def number(text: str, least: float, most: float) -> float:
    """The number that a text says; raises `ValueError` unless it is between these."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not least <= found <= most:
        raise ValueError(f"a number from {least:g} to {most:g} is needed")
    return found


def prefix(text: str) -> str:
    """What stands before the names of topics."""
    if not re.fullmatch("[A-Za-z0-9._-]{1,100}", text):
        raise ValueError("1 to 100 letters, digits, '.', '_' and '-' are needed")
    return text


def host_and_port(text: str) -> str:
    """An address, as it was said."""
    host, _, port = text.rpartition(":")
    if not host:
        raise ValueError("host:port is needed")
    whole(port, 0, 65_535)
    return text


def hosts_and_ports(text: str) -> str:
    """Addresses between commas, as they were said."""
    for part in text.split(","):
        host_and_port(part)
    return text


def origins(text: str) -> tuple[str, ...]:
    """Origins of pages between commas, or "*" for all."""
    found = tuple(each.strip().lower() for each in text.split(","))
    if wrong := [each for each in found if each != "*" and not re.fullmatch(r"https?://[^\s/?#@]+", each)]:
        raise ValueError(f"{wrong[0][:50]!r} is no origin, such as https://event.example, and not *")
    # As browsers say it: without the port that goes without saying (RFC 6454, section 6.1).
    return tuple(re.sub(r"^(http://.*):80$|^(https://.*):443$", r"\1\2", each) for each in found)


def speech_model(text: str) -> str:
    """A name of the catalog, a directory, or a model behind a server."""
    if "/" in text and "://" not in text and not Path(text).is_dir():
        raise ValueError(f"{text} is no directory; a name of the catalog has no '/'")
    return text


def served(text: str) -> str:
    """A model behind a server, as URL#NAME."""
    url, name = address(text)
    if not url.startswith(("http://", "https://")) or not name:
        raise ValueError("URL#NAME of a model behind a server is needed")
    return text


def adapters(text: str) -> tuple[tuple[str, Path], ...]:
    """Names with the directories of their adapters."""
    found = []
    for part in text.split(","):
        name, _, where = part.strip().partition("=")
        if not re.fullmatch("[A-Za-z0-9._-]{1,100}", name) or not where:
            raise ValueError(f"{part.strip()!r} is no NAME=DIRECTORY; a name has letters, digits, '.', '_' and '-'")
        if not Path(where).is_dir():
            raise ValueError(f"{where} is no directory")
        found.append((name, Path(where)))
    if len({name for name, _ in found}) < len(found):
        raise ValueError("each name can be there once")
    return tuple(found)


def thinning(text: str) -> str:
    """How pictures are thinned, as it was said."""
    read_thinning(text)
    return text


def captioner_model(text: str) -> str:
    """A name of the catalog, a directory, or URL#NAME."""
    if "://" in text and not address(text)[1]:
        raise ValueError("a server's model is named as URL#NAME")
    return text


def safety_models(text: str) -> tuple[tuple[str, str], ...]:
    """Names of judges with the directory or URL#MODEL of each."""
    found = []
    for part in text.split(","):
        name, _, where = part.strip().partition("=")
        if name not in MODELS or not where:
            raise ValueError(f"{part.strip()!r} is no NAME=DIRECTORY or NAME=URL#MODEL with one of {', '.join(MODELS)} as its name")
        if "://" not in where and not Path(where).is_dir():
            raise ValueError(f"{where} is no directory")
        found.append((name, where))
    if len({name for name, _ in found}) < len(found):
        raise ValueError("each name can be there once")
    return tuple(found)


def one_of(text: str, choices: tuple[str, ...]) -> str:
    """A text that is one of the choices."""
    if text not in choices:
        raise ValueError(f"one of {', '.join(choices)} is needed")
    return text


def existing_file(text: str) -> Path:
    """The path of a file that is there."""
    path = Path(text)
    if not path.is_file():
        raise ValueError(f"{text} is no file")
    return path


def visual(text: str) -> str:
    """What looks at keyframes."""
    if text not in ("labels", "none") and not Path(text).is_dir():
        raise ValueError('"labels", "none" or the directory of a checkpoint is needed')
    return text


def existing_folder(text: str) -> Path:
    """The path of a folder that is there."""
    path = Path(text)
    if not path.is_dir():
        raise ValueError(f"{text} is no folder")
    return path


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach the address; an empty one is."""
    if not address:
        return True
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
