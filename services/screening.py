"""What the settings say about judging, for the services that judge: policies, models, the audit's key."""

from pipeline.safety.audit import Keys
from pipeline.safety.book import FileBook
from pipeline.safety.policy_file import SHIPPED
from pipeline.safety.scorer import PolicyScorer
from services.settings import Settings


def book_of(settings: Settings) -> FileBook:
    """The policies that hold; raises `SettingInvalid`."""
    return FileBook(settings.policies or SHIPPED, seals=settings.audit_key is not None)


def audit_keys(settings: Settings) -> Keys | None:
    """What seals and signs the audit; `None` where no key is set. Raises `SettingInvalid`."""
    return Keys.read(settings.audit_key) if settings.audit_key is not None else None


def load_scorers(settings: Settings, *, pictures: bool = True) -> tuple[PolicyScorer, ...]:
    """The models that judge by policies, in the order of the settings, those of pictures only where they are wanted.

    Raises `SettingInvalid`, `ModelMissing` or `ModelMismatch`.
    """
    from pipeline.safety.adapters import PICTURES, load

    wanted = [(name, where) for name, where in settings.safety_models if pictures or name not in PICTURES]
    return tuple(load(name, where, key=settings.model_key) for name, where in wanted)
