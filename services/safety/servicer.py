"""Judging as a call."""

from watchword.v1 import safety_service_pb2, safety_service_pb2_grpc

from pipeline.errors import RequestInvalid, WatchwordError
from pipeline.safety.judge import Judge
from services.rpc import ServicerContext, abort

TEXT_CHARACTERS = 10_000
"""The longest text that is judged in one call."""


class SafetyServicer(safety_service_pb2_grpc.SafetyServiceServicer):
    """One item per call."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    async def Screen(self, request: safety_service_pb2.ScreenRequest, context: ServicerContext) -> safety_service_pb2.ScreenResponse:
        """The verdict, and of a text what may pass."""
        try:
            match request.WhichOneof("subject"):
                case "text" if len(request.text) > TEXT_CHARACTERS:
                    raise RequestInvalid(
                        f"a text of {len(request.text):,} characters is over the limit of {TEXT_CHARACTERS:,}; send it in parts"
                    )
                case "text":
                    judged = self._judge.text(request.text)
                    return safety_service_pb2.ScreenResponse(verdict=judged.verdict, text=judged.text)
                case "jpeg":
                    return safety_service_pb2.ScreenResponse(verdict=await self._judge.image(request.jpeg))
                case _:
                    raise RequestInvalid("there is nothing to judge: send a text or a JPEG")
        except WatchwordError as error:
            await abort(context, error)
