"""Live subtitles for players: HLS playlists of WebVTT, beside the pictures of whoever sends these (docs/hls.md).

GET /v1/streams/{stream}/hls                        the addresses, and the line for a master playlist
GET /v1/streams/{stream}/hls/captions.m3u8          what is said; captions.en.m3u8 is its translation
GET /v1/streams/{stream}/hls/master.m3u8?video=URL  the same beside the pictures of a playlist that is elsewhere
GET /v1/streams/{stream}/hls/captions-BEGUN-N.vtt   a segment; BEGUN tells streams of one name apart
"""

import asyncio
import re
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pipeline.bus.codec import STREAM_ID
from pipeline.errors import RequestInvalid, ServiceUnavailable, StreamUnknown
from pipeline.live_subtitles import LiveSubtitles
from services.gateway import playlists
from services.gateway.grants import PARAMETER, grant
from services.gateway.playlists import Listing
from services.gateway.subtitle_tracks import SubtitleTracks
from services.setting_values import whole

FIRST_S = 20.0
"""How long a player that is early waits: a stream is known after 10 s at the latest, and its first segment when enough of it was heard."""
LOOK_S = 0.25
FRESH = {"Cache-Control": "max-age=1"}
KEPT = {"Cache-Control": "max-age=31536000, immutable"}
_PLAYLIST = re.compile(r"captions(?:\.([A-Za-z0-9-]{1,35}))?\.m3u8")
_SEGMENT = re.compile(r"captions(?:\.([A-Za-z0-9-]{1,35}))?-(\d{1,15})-(\d{1,12})\.vtt")
_ADDRESS = re.compile(r"https?://[!#-;=?-Z_a-z~%\[\]]{1,2000}")
_CODECS = re.compile(r"[A-Za-z0-9., ]{0,200}")
BANDWIDTH = 5_000_000
"""Bits a second of pictures of which it is not told: a player that has no choice does not use it."""


@dataclass(frozen=True)
class _Rendition:
    language: str
    is_translated: bool
    address: str

    def line(self, address: str) -> str:
        """The line of a master playlist, with the address as seen from there."""
        name = f"Live captions ({self.language})" if self.is_translated else "Live captions"
        return playlists.rendition(name, address, language=self.language, is_default=not self.is_translated)


class Hls:
    """The routes of players."""

    def __init__(self, tracks: SubtitleTracks, key: str = "", *, first_s: float = FIRST_S) -> None:
        """`key` is that of the face, of which grants are made."""
        self._tracks, self._key, self._first_s = tracks, key, first_s
        self.routes = [
            Route("/v1/streams/{stream}/hls", self._addresses, methods=["GET"]),
            Route("/v1/streams/{stream}/hls/{name}", self._file, methods=["GET"]),
        ]

    def close(self) -> None:
        """Nothing is told for long."""

    async def _addresses(self, request: Request) -> Response:
        stream_id, mpegts = request.path_params["stream"], _mpegts(request)
        if not STREAM_ID.fullmatch(stream_id):
            raise RequestInvalid(f"{stream_id[:50]!r} is not a stream id")
        base = str(request.url.replace(query="")).rstrip("?")
        found = [
            {
                "language": each.language or None,
                "translated": each.is_translated,
                "playlist": f"{base}/{each.address}",
                "media": each.line(f"{base}/{each.address}"),
            }
            for each in self._renditions(stream_id, mpegts)
        ]
        return JSONResponse({"captions": found, "stream_inf": f'SUBTITLES="{playlists.GROUP}"'}, headers={"Cache-Control": "no-store"})

    def _master(self, request: Request) -> Response:
        stream_id, mpegts = request.path_params["stream"], _mpegts(request)
        if not self._tracks.languages(stream_id):
            raise StreamUnknown(f"no captions of a stream {stream_id!r} are known here; GET /v1/streams tells which are")
        pictures, codecs = request.query_params.get("video", ""), request.query_params.get("codecs", "")
        if not _ADDRESS.fullmatch(pictures) or not _CODECS.fullmatch(codecs):
            raise RequestInvalid("video=URL must name a media playlist, as https://host/path.m3u8, and codecs=LIST its codecs, if given")
        try:
            bandwidth = whole(request.query_params.get("bandwidth", str(BANDWIDTH)), 1, 999_999_999)
        except ValueError as error:
            raise RequestInvalid(f"bandwidth, in bits a second: {error}") from None
        lines = [each.line(each.address) for each in self._renditions(stream_id, mpegts)]
        told = playlists.master(lines, pictures=pictures, bandwidth=bandwidth, codecs=codecs)
        return Response(told, media_type=playlists.PLAYLIST, headers=FRESH)

    def _renditions(self, stream_id: str, mpegts: int | None) -> "list[_Rendition]":
        """The tracks that there are, or the one that there will be."""
        query = self._query(stream_id, mpegts)
        return [
            _Rendition(language or self._tracks.spoken(stream_id), bool(language), f"{_name(language)}.m3u8{query}")
            for language in self._tracks.languages(stream_id) or [""]
        ]

    async def _file(self, request: Request) -> Response:
        stream_id, name = request.path_params["stream"], request.path_params["name"]
        if wanted := _PLAYLIST.fullmatch(name):
            return await self._playlist(stream_id, wanted[1] or "", _mpegts(request))
        if wanted := _SEGMENT.fullmatch(name):
            return self._segment(stream_id, wanted[1] or "", begun=int(wanted[2]), number=int(wanted[3]), mpegts=_mpegts(request))
        if name == "master.m3u8":
            return self._master(request)
        raise HTTPException(404, "there is no such file", FRESH)

    async def _playlist(self, stream_id: str, language: str, mpegts: int | None) -> Response:
        track = await self._listed(stream_id, language)
        named = f"{_name(language)}-{self._begun(stream_id)}"
        query = self._query(stream_id, mpegts)
        listed = [(stretch, f"{named}-{stretch.number}.vtt{query}") for stretch in track.stretches]
        listing = Listing(self._tracks.rules.length, self._tracks.begun(stream_id), track.ended)
        return Response(playlists.media_playlist(listed, listing), media_type=playlists.PLAYLIST, headers=FRESH)

    def _segment(self, stream_id: str, language: str, *, begun: int, number: int, mpegts: int | None) -> Response:
        track = self._tracks.track(stream_id, language)
        known = track is not None and begun == self._begun(stream_id)
        stretch = track.stretch(number) if track is not None and known else None
        if stretch is None:
            raise HTTPException(404, "no such segment is kept, or it is not there yet", FRESH)
        clock = self._tracks.clock(stream_id, stretch.start) if mpegts is None else mpegts
        return Response(playlists.segment(stretch, clock), media_type=playlists.VTT, headers=KEPT)

    async def _listed(self, stream_id: str, language: str) -> LiveSubtitles:
        """The track, once it has a segment: players give up a playlist that is not there, or has none."""
        try:
            async with asyncio.timeout(self._first_s):
                while True:
                    track = self._tracks.track(stream_id, language)
                    if track is not None and track.stretches:
                        return track
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            if track is None:
                what = f"captions in {language!r}" if language else "captions"
                raise StreamUnknown(f"no {what} of a stream {stream_id!r} are known here; GET /v1/streams tells which are") from None
            raise ServiceUnavailable(f"stream {stream_id}: too little has been heard for a first segment: ask again in a moment") from None

    def _begun(self, stream_id: str) -> int:
        return int((self._tracks.begun(stream_id) or 0) * 1000)

    def _query(self, stream_id: str, mpegts: int | None) -> str:
        """What follows the name of each file: an address in a playlist takes nothing over from the playlist's own."""
        asked = {"mpegts": mpegts, PARAMETER: grant(self._key, stream_id) or None}
        told = urlencode({name: value for name, value in asked.items() if value is not None})
        return f"?{told}" if told else ""


def _name(language: str) -> str:
    return f"captions.{language}" if language else "captions"


def _mpegts(request: Request) -> int | None:
    """What the clock of the pictures says at media time 0, where it is told: it is that of the source otherwise."""
    told = request.query_params.get("mpegts")
    if told is None:
        return None
    if not told.isascii() or not told.isdigit() or int(told[:20]) >= playlists.WRAPS:
        raise RequestInvalid(f"mpegts={told[:30]} is no time of an MPEG-2 clock: ticks of 1/90,000 s, from 0 to {playlists.WRAPS - 1:,}")
    return int(told)
