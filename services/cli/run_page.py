"""The page of one run: the gateway's, on the run's own bus, for this machine alone."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from watchword.v1.qa_service_pb2 import AskRequest, AskResponse

from pipeline.bus.memory import MemoryBus
from pipeline.errors import ServiceUnavailable, SettingInvalid
from services.gateway.hls import Hls
from services.gateway.http import HttpFace
from services.gateway.hub import Hub
from services.gateway.live import Streams
from services.gateway.page_files import Page
from services.gateway.questions import Questions
from services.gateway.subtitle_tracks import SubtitleTracks
from services.serve import asked_to_stop, one_failure
from services.setting_values import is_loopback
from services.settings import Settings

if TYPE_CHECKING:
    from services.embedded.flow import Flow

ADDRESS = "127.0.0.1:8080"
"""Where the page is unless the settings say otherwise."""


class RunPage:
    """A page that shows one stream, from before it begins until the process is asked to stop."""

    def __init__(self, source: str, stream_id: str, settings: Settings) -> None:
        """Raises `SettingInvalid` where nobody can listen, or others than this machine could."""
        address = settings.http or ADDRESS
        if not is_loopback(address):
            raise SettingInvalid(
                f"--page is for this machine alone: WATCHWORD_HTTP={address} is not; `watchword serve gateway` has it for others"
            )
        self.bus = MemoryBus()
        tracks = SubtitleTracks(settings.live_subtitles)
        self._hub = Hub(self.bus, followers=[tracks])
        self._flow: Flow | None = None
        path = Path(source)
        streams = Streams(self._hub, recordings={stream_id: path} if path.is_file() else {})
        # Without a key: a player cannot show one, and only this machine is answered to.
        settings = replace(settings, http=address, api_key="", tls=None)
        self._face = HttpFace([Page(), streams, Hls(tracks), Questions(self._ask)], settings)

    @property
    def address(self) -> str:
        """Where a browser finds it."""
        return f"http://{self._face.address}/"

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve as long as this is entered; raises what keeps the page from being served, should anything."""
        async with one_failure(), asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._hub.run()), group.create_task(self._face.run())]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()

    def answer_by(self, flow: "Flow") -> None:
        """From now on questions are answered."""
        self._flow = flow

    async def until_stopped(self) -> None:
        """Wait for Ctrl-C, or to be asked to end."""
        await asked_to_stop().wait()

    async def _ask(self, request: AskRequest) -> AsyncGenerator[AskResponse, None]:
        if self._flow is None:
            raise ServiceUnavailable("the models are still being loaded: ask again in a moment")
        async with contextlib.aclosing(self._flow.asking.ask(request)) as parts:
            async for part in parts:
                yield part
