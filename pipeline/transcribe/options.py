"""What a stream's captions are asked to be."""

from dataclasses import dataclass

AUTO = "auto"
"""The language is identified from what is heard."""


@dataclass(frozen=True)
class Options:
    """How to transcribe one stream."""

    interim: bool = True
    """Whether partials are said. Finals alone cost about half."""
    recorded: bool = False
    """Whether nobody waits for the words: segments are longer then, and cost a third."""
    language: str = AUTO
    """BCP 47 language that is spoken, or `AUTO`; a model that knows only one language speaks that one under `AUTO`."""
    translate: bool = False
    """Whether each final is followed by one in English, where the language is another: a second caption track."""
    glossary: tuple[str, ...] = ()
    """Names and terms that may be said, spelt as they should be written; the model is led to them, not bound."""


OPTIONS = Options()
"""What a stream gets unless it asks for something else."""
