"""Descriptions as the messages that viewers get."""

from collections.abc import Sequence

from watchword.v1.scene_pb2 import CaptionMaking, Keyframe, SceneAction, SceneBoundary, SceneCaption

from pipeline.caption.model import Description


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
    )


def extended(caption: SceneCaption, scene: SceneBoundary) -> SceneCaption:
    """The caption for a later scene, too."""
    longer = SceneCaption()
    longer.CopyFrom(caption)
    longer.media_end.CopyFrom(scene.media_end)
    longer.extended_by.append(scene.scene_id)
    longer.revision += 1
    return longer


def _without_picture(keyframe: Keyframe) -> Keyframe:
    bare = Keyframe()
    bare.CopyFrom(keyframe)
    bare.ClearField("jpeg")
    return bare
