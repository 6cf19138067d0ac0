"""Captions over HLS: what is listed and given over real HTTP, to whom, and two players that show it: FFmpeg, and hls.js in a browser."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import av
import pytest
from prometheus_client import REGISTRY
from watchword.v1.events_pb2 import ClearedEvent
from watchword.v1.media_pb2 import Gap, StreamEnd
from watchword.v1.transcript_pb2 import TranscriptSegment, TranscriptStatistics, Word

from pipeline.live_subtitles import LiveSubtitles, Rules
from pipeline.timeline import MediaTime
from services.gateway.grants import grant
from services.gateway.subtitle_tracks import SubtitleTracks
from tests import synthetic
from tests.clock import ManualClock
from tests.pipeline.test_network_sources import served
from tests.services.browser import CHROMIUM, browser
from tests.services.test_live_http import STREAM, Place, Source, run
from tests.services.test_page import until

pytestmark = pytest.mark.connected

HLS = f"/v1/streams/{STREAM}/hls"
CAPTIONS = f"{HLS}/captions.m3u8"
CLIP = synthetic.Spec(seconds=13, width=320, height=180, audio=None)
PLAYER = Path(sys.prefix) / "share/hls.min.js"
OTHER = "https://event.example"


def say(source: Source, at: float, text: str, *, each: float = 0.4, **fields: Any) -> None:
    """A final whose words come one after another."""
    times = [MediaTime.of(at + number * each) for number in range(len(text.split()) + 1)]
    words = [
        Word(text=word, media_start=start.to_proto(), media_end=end.to_proto())
        for word, start, end in zip(text.split(), times[:-1], times[1:], strict=True)
    ]
    source.say(int(at), text, words=words, media_start=times[0].to_proto(), media_end=times[-1].to_proto(), **fields)


SAID = [(1.0, "Welcome to the demo."), (6.5, "The conference opens on Monday morning."), (11.0, "That is all.")]
"""The second goes over the border at 8 s."""


def talk(source: Source) -> None:
    for at, text in SAID:
        say(source, at, text)


def names(playlist: str) -> list[str]:
    return [line for line in playlist.splitlines() if line and not line.startswith("#")]


def test_a_playlist_lists_what_is_final_and_its_segments_tell_when_it_is_seen() -> None:
    async def work(there: Place) -> None:
        talk(there.source)
        listed = await there.web.get(CAPTIONS)
        assert (listed.headers["content-type"], listed.headers["cache-control"]) == ("application/vnd.apple.mpegurl", "max-age=1")
        assert listed.text.splitlines() == [
            "#EXTM3U",
            "#EXT-X-VERSION:3",
            "#EXT-X-TARGETDURATION:4",
            "#EXT-X-MEDIA-SEQUENCE:0",
            "#EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:16:40.500Z",
            *("#EXTINF:4.000,", "captions-1000500-0.vtt", "#EXTINF:4.000,", "captions-1000500-1.vtt"),
            *("#EXTINF:4.000,", "captions-1000500-2.vtt"),
        ]
        segments = [(await there.web.get(f"{HLS}/{name}")) for name in names(listed.text)]
        assert segments[0].text == (
            "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n\n00:00:01.000 --> 00:00:03.100\nWelcome to the demo.\n\n"
        )
        assert segments[0].headers["content-type"] == "text/vtt; charset=utf-8"
        assert "immutable" in segments[0].headers["cache-control"]
        cue = "00:00:06.500 --> 00:00:08.900\nThe conference opens on Monday morning.\n\n"
        assert segments[1].text == f"WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:360000,LOCAL:00:00:04.000\n\n{cue}"
        assert segments[2].text.startswith("WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:720000,LOCAL:00:00:08.000\n\n00:00:06.500"), "it is seen in both"
        there.source.end()
        ended = (await there.web.get(CAPTIONS)).text
        assert ended.startswith(listed.text)
        assert ended.endswith("#EXTINF:1.000,\ncaptions-1000500-3.vtt\n#EXT-X-ENDLIST\n")

    run(work)


def test_partials_and_what_is_withheld_are_not_there_and_silence_is() -> None:
    async def work(there: Place) -> None:
        source = there.source
        say(source, 1, "Hello there.")
        source.tell(
            ClearedEvent(segment=TranscriptSegment(stream_id=STREAM, id="segment-5", text="Something", words=[Word(text="Something")]))
        )
        source.withhold("segment-5", "transcript")
        say(source, 20, "Good bye.")
        source.end()
        listed = names((await there.web.get(CAPTIONS)).text)
        assert len(listed) == 6
        texts = [(await there.web.get(f"{HLS}/{name}")).text.split("\n\n", 1)[1] for name in listed]
        assert ["Hello" in text for text in texts] == [True, False, False, False, False, False]
        assert texts[1:5] == [""] * 4
        assert "Good bye." in texts[5]

    run(work)


def test_a_late_word_is_counted_and_shown_in_the_next_segment() -> None:
    def counted(when: str) -> float:
        return REGISTRY.get_sample_value("watchword_subtitle_words_total", {"when": when}) or 0.0

    before = counted("in_time"), counted("late")

    async def work(there: Place) -> None:
        heard = TranscriptStatistics(stream_id=STREAM, id="statistics-1", media_end=MediaTime.of(13).to_proto())
        there.source.tell(ClearedEvent(stats=heard))
        assert len(names((await there.web.get(CAPTIONS)).text)) == 1, "nothing more can be waited for"
        say(there.source, 3, "Late. And this is not.", each=0.5)
        there.source.end()
        second = await there.web.get(f"{HLS}/captions-1000500-1.vtt")
        assert "00:00:04.000 -->" in second.text

    run(work)
    assert (counted("in_time") - before[0], counted("late") - before[1]) == (3, 2)


def test_a_live_stream_that_is_silent_goes_on_by_the_clock_and_one_that_is_gone_stops() -> None:
    clock = ManualClock()
    tracks = SubtitleTracks(clock=clock)

    async def work(there: Place) -> None:
        source = there.source
        source.live, source.started_at = True, clock.now()
        say(source, 1, "Hello.")
        await clock.advance(20)
        assert len(names((await there.web.get(CAPTIONS)).text)) == 1, "told up to 1.4 s, and taken to be 12 s further"
        source.tell(ClearedEvent(stats=TranscriptStatistics(stream_id=STREAM, id="statistics-1", media_end=MediaTime.of(20).to_proto())))
        assert len(names((await there.web.get(CAPTIONS)).text)) == 3
        await clock.advance(4.1)
        assert len(names((await there.web.get(CAPTIONS)).text)) == 4
        await clock.advance(100)
        assert len(names((await there.web.get(CAPTIONS)).text)) == 6, "nothing has been heard of it for too long"

    run(work, tracks=tracks)


def test_a_gap_and_a_stream_without_sound_have_empty_segments() -> None:
    async def work(there: Place) -> None:
        gap = Gap(stream_id=STREAM, id="gap-0", media_start=MediaTime.of(0).to_proto(), media_end=MediaTime.of(12).to_proto())
        there.source.tell(ClearedEvent(gap=gap))
        assert len(names((await there.web.get(CAPTIONS)).text)) == 3

    run(work)

    async def silent(there: Place) -> None:
        there.source.tell(ClearedEvent(end=StreamEnd(stream_id=STREAM)))
        there.source.show(9)
        listed = (await there.web.get(CAPTIONS)).text
        assert (len(names(listed)), "ENDLIST" in listed) == (2, False)
        there.source.end()
        assert (await there.web.get(CAPTIONS)).text.endswith("#EXTINF:1.000,\ncaptions-1000500-2.vtt\n#EXT-X-ENDLIST\n")

    run(silent)


def test_a_translation_has_a_playlist_of_its_own() -> None:
    async def work(there: Place) -> None:
        for at in (1, 5, 9):
            say(there.source, at, "Guten Tag zusammen.", language="de")
            say(there.source, at, "Hello everybody.", language="en", translation_of=f"segment-{at}", id=f"segment-{at}-en")
        there.source.end()
        addresses = (await there.web.get(HLS)).json()["captions"]
        assert [(each["language"], each["translated"]) for each in addresses] == [("de", False), ("en", True)]
        for each, text in zip(addresses, ("Guten Tag", "Hello"), strict=True):
            listed = (await there.web.get(each["playlist"])).text
            assert text in (await there.web.get(f"{HLS}/{names(listed)[0]}")).text
        assert 'LANGUAGE="en",DEFAULT=NO' in addresses[1]["media"]

    run(work)


def test_the_time_of_the_pictures_clock_goes_into_every_segment_and_it_wraps() -> None:
    async def work(there: Place) -> None:
        talk(there.source)
        mpegts = 2**33 - 90_000
        listed = names((await there.web.get(CAPTIONS, params={"mpegts": mpegts})).text)
        maps = [(await there.web.get(f"{HLS}/{name}")).text.splitlines()[1] for name in listed]
        assert maps[:2] == [
            "X-TIMESTAMP-MAP=MPEGTS:8589844592,LOCAL:00:00:00.000",
            "X-TIMESTAMP-MAP=MPEGTS:270000,LOCAL:00:00:04.000",
        ]
        for wrong in ("-1", "x", str(2**33), "1e3", "9" * 5000, "²"):
            refused = await there.web.get(CAPTIONS, params={"mpegts": wrong})
            assert (refused.status_code, refused.json()["reason"]) == (400, "REQUEST_INVALID")

    run(work)


def test_the_clock_of_the_source_is_taken_where_none_is_told_and_a_new_one_after_a_gap() -> None:
    async def work(there: Place) -> None:
        source = there.source
        source.clock = 126_000
        say(source, 1, "One two.")
        source.clock = 9_000_000
        gap = Gap(stream_id=STREAM, id="gap-2000", media_start=MediaTime.of(2).to_proto(), media_end=MediaTime.of(8).to_proto())
        source.tell(ClearedEvent(gap=gap))
        say(source, 9, "Three. And four five six.")
        listed = names((await there.web.get(CAPTIONS)).text)
        maps = [(await there.web.get(f"{HLS}/{name}")).text.splitlines()[1] for name in listed]
        assert maps == [
            "X-TIMESTAMP-MAP=MPEGTS:126000,LOCAL:00:00:00.000",
            "X-TIMESTAMP-MAP=MPEGTS:9360000,LOCAL:00:00:04.000",
        ]
        told = (await there.web.get(f"{HLS}/{listed[1]}", params={"mpegts": 0})).text.splitlines()[1]
        assert told == "X-TIMESTAMP-MAP=MPEGTS:360000,LOCAL:00:00:04.000", "what is told goes first"

    run(work)


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("captions.fr.m3u8", 404, "STREAM_UNKNOWN"),
        ("captions-1000500-99.vtt", 404, "REQUEST_INVALID"),
        ("captions-7-0.vtt", 404, "REQUEST_INVALID"),
        ("captions-1000500-0.txt", 404, "REQUEST_INVALID"),
        ("master.m3u8", 400, "REQUEST_INVALID"),
        ("master.m3u8?video=file:///etc/passwd", 400, "REQUEST_INVALID"),
        ("master.m3u8?video=https://cdn.example/a%0A%23EXT-X-KEY", 400, "REQUEST_INVALID"),
        ("master.m3u8?video=https://cdn.example/a.m3u8&bandwidth=fast", 400, "REQUEST_INVALID"),
        ("master.m3u8?video=https://cdn.example/a.m3u8&codecs=%22", 400, "REQUEST_INVALID"),
    ],
)
def test_what_is_not_there_is_told_as_json(name: str, status: int, reason: str) -> None:
    async def work(there: Place) -> None:
        talk(there.source)
        refused = await there.web.get(f"{HLS}/{name}")
        assert (refused.status_code, refused.json()["reason"]) == (status, reason)

    run(work)


def test_a_playlist_waits_for_its_first_segment_and_not_for_ever() -> None:
    async def work(there: Place) -> None:
        assert (await there.web.get(CAPTIONS)).json()["reason"] == "STREAM_UNKNOWN"
        say(there.source, 1, "Hello.")
        refused = await there.web.get(CAPTIONS)
        assert (refused.status_code, refused.json()["reason"]) == (503, "SERVICE_UNAVAILABLE")
        waiting = asyncio.create_task(there.web.get(CAPTIONS))
        say(there.source, 5, "And so on.")
        assert len(names((await waiting).text)) == 1

    run(work)


def test_with_a_key_a_grant_opens_the_captions_of_one_stream_and_nothing_else() -> None:
    async def work(there: Place) -> None:
        talk(there.source)
        assert (await there.web.get(HLS)).status_code == 401
        for address in (CAPTIONS, f"{CAPTIONS}?grant=", f"{CAPTIONS}?grant={grant('secret', 'other')}", f"{CAPTIONS}?grant=secret"):
            assert (await there.web.get(address)).status_code == 401
        told = (await there.web.get(HLS, headers={"Authorization": "Bearer secret"})).json()["captions"][0]
        listed = await there.web.get(told["playlist"])
        assert "secret" not in listed.text + told["playlist"]
        assert (await there.web.get(f"{HLS}/{names(listed.text)[0]}")).status_code == 200, "segments carry the grant"
        query = told["playlist"].partition("?")[2]
        for path in (HLS, "/v1/streams", f"/v1/streams/{STREAM}/events", "/v1/streams/other/hls/captions.m3u8"):
            assert (await there.web.get(f"{path}?{query}")).status_code == 401
        assert (await there.web.post(told["playlist"])).status_code == 401

    run(work, key="secret")


def test_pages_of_origins_that_are_named_may_read_captions_and_nothing_else() -> None:
    async def work(there: Place) -> None:
        talk(there.source)
        asked = {"Origin": OTHER, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
        first = await there.web.options(CAPTIONS, headers=asked)
        assert (first.status_code, first.headers["access-control-allow-origin"]) == (204, OTHER)
        assert "Authorization" in first.headers["access-control-allow-headers"]
        given = await there.web.get(CAPTIONS, headers={"Origin": OTHER, "Authorization": "Bearer secret"})
        assert (given.status_code, given.headers["access-control-allow-origin"], given.headers["vary"]) == (200, OTHER, "Origin")
        assert given.headers["cross-origin-resource-policy"] == "cross-origin"
        for path, origin in ((CAPTIONS, "https://evil.example"), ("/v1/streams", OTHER), (HLS, OTHER)):
            closed = await there.web.get(path, headers={"Origin": origin, "Authorization": "Bearer secret"})
            assert (closed.status_code, "access-control-allow-origin" in closed.headers) == (200, False)
        unasked = await there.web.get(CAPTIONS, headers={"Authorization": "Bearer secret"})
        assert unasked.headers["vary"] == "Origin", "what a cache keeps of it is not for pages"

    run(work, key="secret", origins=(OTHER,))


def test_without_a_key_only_pages_of_origins_that_are_named_may_read_captions() -> None:
    async def work(there: Place) -> None:
        talk(there.source)
        for path, origin, status in ((CAPTIONS, OTHER, 200), (CAPTIONS, "https://evil.example", 403), ("/v1/streams", OTHER, 403)):
            answered = await there.web.get(path, headers={"Origin": origin, "Sec-Fetch-Site": "cross-site"})
            assert answered.status_code == status, (path, origin)

    run(work, origins=(OTHER,))


def packaged(folder: Path, *, begins: int = 0, kind: str = "mpegts") -> int:
    """A clip as the HLS of some packager, which Watchword reads, too: what its clock says at media time 0."""
    source = synthetic.playlist(synthetic.clip(CLIP), folder, begins=begins, kind=kind)
    tape, _ = synthetic.published(source)
    (clock,) = {record.context.clock for record in tape.of("chunk")}
    assert clock is not None
    return clock


async def master(there: Place, folder: Path) -> None:
    """The master playlist of that packager, with the line of the captions."""
    told = (await there.web.get(HLS, headers={"Authorization": "Bearer secret"})).json()
    lines = ["#EXTM3U", told["captions"][0]["media"], f"#EXT-X-STREAM-INF:BANDWIDTH=500000,{told['stream_inf']}", "list.m3u8", ""]
    (folder / "master.m3u8").write_text("\n".join(lines))


def shown(address: str) -> list[tuple[float, str]]:
    """What FFmpeg's player reads, to the end."""
    found: dict[tuple[float, str], None] = {}
    with av.open(address, timeout=20, options={"live_start_index": "0"}) as container:
        (subtitles,) = container.streams.subtitles
        subtitles.discard = type(subtitles.discard)(0)
        for packet in container.demux(subtitles):
            if packet.pts is not None:
                found[float(packet.pts * packet.time_base), bytes(packet).decode()] = None
    return list(found)


class Watched(SubtitleTracks):
    """Tells when it is asked for a track; in segments of a second."""

    def __init__(self) -> None:
        super().__init__(Rules(length=MediaTime.of(1)))
        self.asked = asyncio.Event()

    def track(self, stream_id: str, language: str = "") -> LiveSubtitles | None:
        self.asked.set()
        return super().track(stream_id, language)


def test_ffmpeg_follows_the_captions_of_a_stream_that_goes_on() -> None:
    tracks = Watched()

    async def work(there: Place) -> None:
        for at, text in SAID[:2]:
            say(there.source, at, text)
        playing = asyncio.create_task(asyncio.to_thread(shown, f"http://{there.face.address}{CAPTIONS}"))
        await tracks.asked.wait()
        say(there.source, *SAID[2])
        there.source.end()
        assert await playing == SAID

    run(work, tracks=tracks)


def test_ffmpeg_has_the_captions_beside_the_pictures_of_somebody_else(tmp_path: Path) -> None:
    async def work(there: Place) -> None:
        there.source.clock = await asyncio.to_thread(packaged, tmp_path)
        talk(there.source)
        there.source.end()
        await master(there, tmp_path)
        with served(tmp_path) as pictures:
            assert await asyncio.to_thread(shown, f"{pictures}/master.m3u8") == SAID
            ours = f"{HLS}/master.m3u8?video={pictures}/list.m3u8&bandwidth=500000&codecs=avc1.64000b&grant={grant('secret', STREAM)}"
            told = (await there.web.get(ours)).text
            assert told.splitlines()[-2:] == [
                '#EXT-X-STREAM-INF:BANDWIDTH=500000,CODECS="avc1.64000b",SUBTITLES="captions"',
                f"{pictures}/list.m3u8",
            ]
            assert await asyncio.to_thread(shown, f"http://{there.face.address}{ours}") == SAID

    run(work, key="secret")


PAGE = """<!doctype html><style>body { margin: 0; background: #000 } video { width: 640px; height: 360px }</style>
<video muted playsinline></video><script src="hls.min.js"></script><script>
const video = document.querySelector("video"), hls = new Hls({ liveSyncDurationCount: 3, startPosition: 0 });
let failed = "";
// On a busy machine it stalls, and goes on.
hls.on(Hls.Events.ERROR, (_, problem) => { if (problem.fatal || /subtitle/i.test(problem.details)) failed += problem.details + " "; });
hls.loadSource("master.m3u8");
hls.attachMedia(video);
hls.subtitleDisplay = true;
const first = () => video.buffered.length ? video.buffered.start(0) : 0;
const lines = () => [...video.textTracks[0]?.cues ?? []].map(cue => [Math.round((cue.startTime - first()) * 100) / 100, cue.text]);
const seen = () => [...video.textTracks[0]?.activeCues ?? []].map(cue => cue.text);
</script>"""


@pytest.mark.skipif(CHROMIUM is None or not PLAYER.is_file(), reason="no Chromium or no hls.js is installed: .ci/tools brings them")
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("kind", "begins"), [("mpegts", 8_100_000), ("fmp4", 0)])
def test_hls_js_shows_the_captions_at_their_time_on_a_page_of_another_origin(tmp_path: Path, kind: str, begins: int) -> None:
    async def work(there: Place) -> None:
        there.source.clock = await asyncio.to_thread(packaged, tmp_path, begins=begins, kind=kind)
        for at, text in SAID[:2]:
            say(there.source, at, text)
        await master(there, tmp_path)
        (tmp_path / "index.html").write_text(PAGE)
        (tmp_path / "hls.min.js").write_bytes(PLAYER.read_bytes())
        with served(tmp_path) as pictures:
            async with browser(tmp_path / "profile") as page:
                await page.open(f"{pictures}/index.html")
                await until(page, "failed || lines().length === 2")
                say(there.source, *SAID[2])
                there.source.end()
                await until(page, "failed || lines().length === 3")
                assert await page.run("failed") == ""
                assert await page.run("lines()") == [list(line) for line in SAID]
                for time, text in ((2.0, [SAID[0][1]]), (5.0, []), (8.2, [SAID[1][1]]), (11.5, [SAID[2][1]])):
                    await page.run(f"video.currentTime = {time}")
                    await until(page, f"!video.seeking && JSON.stringify(seen()) === JSON.stringify({json.dumps(text)})")

    run(work, origins=("*",), key="secret", patience_s=250)
