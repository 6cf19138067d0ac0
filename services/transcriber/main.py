"""What the transcriber is made of."""

from dataclasses import replace

from watchword.v1 import transcribe_service_pb2_grpc

from pipeline.bus import Bus
from pipeline.errors import SettingInvalid
from pipeline.stage import Stage
from pipeline.transcribe.options import Options
from services.serve import Parts, face_of
from services.settings import Settings
from services.transcriber.servicer import TranscribeServicer
from services.transcriber.stages import Stages


async def build(settings: Settings, bus: Bus) -> Parts:
    """Whisper and the speech detector, shared by all streams; raises `SettingInvalid` where the model cannot do what is asked."""
    stages = await Stages.load(settings.model, api_key=settings.model_key)

    def make_stage(stream_id: str) -> Stage:
        return stages.make(stream_id, settings.options(stream_id))

    async def close() -> None:
        stages.close()

    try:
        _require(settings, stages)
    except SettingInvalid:
        stages.close()
        raise
    servicer = TranscribeServicer(settings.options, stages.make, stages.require)
    faces = [face_of(transcribe_service_pb2_grpc, "TranscribeService", servicer)]
    return Parts(faces, {"transcribe": make_stage}, close=close)


def _require(settings: Settings, stages: Stages) -> None:
    """Raise `SettingInvalid`, naming all that the model cannot meet."""
    asked = {"what all streams are asked (WATCHWORD_LANGUAGE, WATCHWORD_TRANSLATE)": replace(settings, streams=()).options("")}
    asked |= {
        f'what streams of the name "{rule.match}" are asked (WATCHWORD_STREAMS)': rule.apply(Options(language=settings.language))
        for rule in settings.streams
    }
    problems = []
    for name, options in asked.items():
        try:
            stages.require(options)
        except SettingInvalid as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise SettingInvalid("; ".join(problems))
