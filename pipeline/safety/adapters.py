"""From a model's name and place to the adapter that judges with it."""

from pathlib import Path

from pipeline.errors import SettingInvalid
from pipeline.safety.scorer import PolicyScorer
from pipeline.served import address

PICTURES = frozenset(["shieldgemma-2"])
"""The models that judge pictures; the others judge texts."""


def load(name: str, where: str, *, key: str = "") -> PolicyScorer:
    """The model of this name, in a directory or behind URL#MODEL; raises `SettingInvalid`, `ModelMissing` or `ModelMismatch`."""
    from pipeline.safety import served, shieldgemma

    url, model = address(where)
    remote = "://" in where
    if remote and not model:
        raise SettingInvalid(f"{name}={where}: behind the URL a # and the server's name of the model are needed")
    match name, remote:
        case "shieldgemma", False:
            return shieldgemma.load_text(Path(where))
        case "shieldgemma", True:
            return served.shieldgemma(url, model, key=key)
        case "shieldgemma-2", False:
            return shieldgemma.load_image(Path(where))
        case "shieldgemma-2", True:
            return served.ServedImage(url, model, key=key)
        case "llama-guard", True:
            return served.llama_guard(url, model, key=key)
        case _:
            raise SettingInvalid(f"{name}={where}: this model is used behind a server only, as {name}=http://host:port/v1#MODEL")
