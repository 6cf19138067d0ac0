"""Descriptions as the messages that viewers get."""

from collections.abc import Sequence

from watchword.v1.scene_pb2 import CaptionMaking, Keyframe, SceneAction, SceneBoundary, SceneCaption, SeenObject

from pipeline.caption.detector import Box
from pipeline.caption.model import Description
from pipeline.caption.seen import Glance, Sight
from pipeline.timeline import MediaTime


def caption_of(scene: SceneBoundary, description: Description, shown: Sequence[Keyframe], *, model: str, revision: int = 1) -> SceneCaption:
    """The first caption of a scene; it names those of the shown keyframes that were looked at, without their pictures."""
    used = shown if description.used is None else [shown[number] for number in description.used]
    making = CaptionMaking(
        model_revision=description.revision, adapter=description.adapter, prompt_version=description.prompt, remark=description.remark
    )
    return SceneCaption(
        stream_id=scene.stream_id,
        id=scene.scene_id,
        media_start=scene.media_start,
        media_end=scene.media_end,
        text=description.text,
        keyframes=[_without_picture(each) for each in used],
        on_screen_text=description.on_screen_text,
        model=model,
        revision=revision,
        detail=description.detail,
        objects=description.objects,
        actions=[
            SceneAction(what=action.what, media_start=action.start.to_proto(), media_end=action.end.to_proto())
            for action in description.actions
        ],
        people=description.people,
        camera=description.camera,
        confidence=description.confidence,
        making=making if making.ByteSize() else None,
        seen=_seen(description.seen, used),
        searched=[each.id for each in used if MediaTime.from_proto(each.media_time) in {glance.time for glance in description.seen}],
    )


def extended(caption: SceneCaption, scene: SceneBoundary) -> SceneCaption:
    """The caption for a later scene, too."""
    longer = SceneCaption()
    longer.CopyFrom(caption)
    longer.media_end.CopyFrom(scene.media_end)
    longer.extended_by.append(scene.scene_id)
    longer.revision += 1
    return longer


def glances_of(caption: SceneCaption) -> tuple[Glance, ...]:
    """What was seen in each of a caption's keyframes that were searched, be it nothing, in order of time."""
    searched = frozenset(caption.searched)
    sights: dict[int, list[Sight]] = {MediaTime.from_proto(each.media_time).nanos: [] for each in caption.keyframes if each.id in searched}
    for each in caption.seen:
        box = Box(each.left, each.top, each.right, each.bottom)
        at = MediaTime.from_proto(each.media_time).nanos
        sights.setdefault(at, []).append(Sight(each.label, each.score, box, each.colour, each.rival))
    return tuple(Glance(MediaTime(at), tuple(own)) for at, own in sorted(sights.items()))


def _seen(glances: Sequence[Glance], keyframes: Sequence[Keyframe]) -> list[SeenObject]:
    names = {MediaTime.from_proto(each.media_time): each.id for each in keyframes}
    return [
        SeenObject(
            keyframe_id=names.get(glance.time, ""),
            media_time=glance.time.to_proto(),
            label=sight.label,
            score=sight.score,
            left=sight.box.left,
            top=sight.box.top,
            right=sight.box.right,
            bottom=sight.box.bottom,
            colour=sight.colour,
            rival=sight.rival,
        )
        for glance in glances
        for sight in glance.sights
    ]


def _without_picture(keyframe: Keyframe) -> Keyframe:
    bare = Keyframe()
    bare.CopyFrom(keyframe)
    bare.ClearField("jpeg")
    return bare
