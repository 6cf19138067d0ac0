"""The words of a description beside its sentence: taken out to be judged, and put back as far as they may be shown."""

from collections.abc import Sequence

from watchword.v1.scene_pb2 import SceneCaption


def words_of(caption: SceneCaption) -> list[str]:
    """Everything that a caption says in words, but its sentence and the text on screen; `put_back` knows the order."""
    return [*filter(None, (caption.detail, caption.camera)), *caption.objects, *(action.what for action in caption.actions)]


def put_back(caption: SceneCaption, words: Sequence[str | None]) -> None:
    """Replace the words, of which there must be as many; where one must not be shown (`None`) all are left out."""
    if None in words:
        del caption.objects[:], caption.actions[:], caption.seen[:]
        caption.detail = caption.camera = ""
        return
    following = iter([word for word in words if word is not None])
    if list(words) != words_of(caption):
        # What was seen is said in the objects' words too: where a policy has masked one, its label must not stand beside it.
        del caption.seen[:]
    caption.detail = next(following) if caption.detail else ""
    caption.camera = next(following) if caption.camera else ""
    caption.objects[:] = [next(following) for _ in caption.objects]
    for action in caption.actions:
        action.what = next(following)
