"""The words of a description beside its sentence: taken out to be judged, and put back as far as they may be shown."""

from collections.abc import Sequence

from watchword.v1.scene_pb2 import SceneCaption

from pipeline.caption.messages import glances_of
from pipeline.caption.seen import groups


def words_of(caption: SceneCaption) -> list[str]:
    """Everything that a caption says in words, each once, but its sentence and the text on screen; `put_back` knows the order.

    What was seen is told later on, counted and coloured ("two blue cups"), and its labels are shown as they are: both are judged.
    """
    told = [caption.detail, caption.camera, *caption.objects, *(action.what for action in caption.actions)]
    return list(dict.fromkeys(filter(None, [*told, *_seen(caption)])))


def put_back(caption: SceneCaption, words: Sequence[str | None]) -> None:
    """Replace the words, of which there must be as many; where one must not be shown (`None`) all are left out.

    A thing that was seen is left out where any of its words has been masked.
    """
    if None in words:
        del caption.objects[:], caption.actions[:], caption.seen[:]
        caption.detail = caption.camera = ""
        return
    before = words_of(caption)
    shown = dict(zip(before, [word for word in words if word is not None], strict=True))
    masked = {label for word, labels in _seen(caption).items() if shown[word] != word for label in labels}
    allowed = [each for each in caption.seen if masked.isdisjoint((each.label, each.rival))]
    del caption.seen[:]
    caption.seen.extend(allowed)
    caption.detail, caption.camera = shown.get(caption.detail, ""), shown.get(caption.camera, "")
    caption.objects[:] = [shown.get(each, "") for each in caption.objects]
    for action in caption.actions:
        action.what = shown.get(action.what, "")


def _seen(caption: SceneCaption) -> dict[str, set[str]]:
    """The words in which what was seen is told, and the labels, rivals and colours themselves, each with the labels that it is of."""
    found: dict[str, set[str]] = {}
    for glance in glances_of(caption):
        for group in groups(glance.sights):
            found.setdefault(group.words, set()).add(group.label)
    told = " ".join(found)
    for each in caption.seen:
        for word in (each.label, each.rival, each.colour):
            if word and word not in told:
                found.setdefault(word, set()).add(each.label)
    return found
