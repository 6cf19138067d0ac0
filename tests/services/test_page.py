"""The page in a real browser: a real run, text that is hostile, breaks, a key, and more than is kept."""

import asyncio
import json
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from watchword.v1.answer_pb2 import Answer
from watchword.v1.events_pb2 import ClearedEvent
from watchword.v1.qa_service_pb2 import AskRequest, AskResponse
from watchword.v1.safety_pb2 import ACTION_FLAG, Verdict
from watchword.v1.scene_pb2 import SceneCaption
from watchword.v1.transcript_pb2 import TranscriptSegment, Word

from pipeline.bus.memory import MemoryBus
from pipeline.errors import ConversationUnknown
from pipeline.timeline import MediaTime
from services.gateway.hub import Hub
from tests.cli.test_bad_input import excerpt
from tests.processes import Process, free_address
from tests.services.browser import CHROMIUM, Page, browser
from tests.services.test_live_http import STREAM, Place, serving

pytestmark = [
    pytest.mark.connected,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: .ci/tools brings it where apt-get can"),
]

UNTIL = "new Promise(done => { const look = setInterval(() => { if (%s) { clearInterval(look); done(); } }, 20); })"
LINES = "[...document.querySelectorAll('#lines p')].map(line => line.textContent)"
HOSTILE = "<img src=x onerror=\"document.title='owned'\"> & <b>bold</b>"


async def until(page: Page, condition: str) -> None:
    await page.run(UNTIL % condition)


def in_page(tmp_path: Path, work: Callable[[Place, Page], Awaitable[None]], **options: Any) -> None:
    async def within() -> None:
        async with serving(**options) as there, browser(tmp_path) as page:
            await page.open(f"http://{there.face.address}/")
            await work(there, page)

    asyncio.run(within())


STAY = """
sought = null;
for (const [name, does] of [["seeking", each => { sought ??= each.currentTime; }], ["play", each => each.pause()]])
    document.getElementById("video").addEventListener(name, event => does(event.target));
"""
"""Where the player is sent is noted, and it stays there: a busy machine would look at it when it has gone on to its end."""


@pytest.mark.timeout(300)
def test_a_real_run_is_shown_asked_and_sought_and_stays_until_it_is_stopped(tmp_path: Path) -> None:
    clip = excerpt(tmp_path / "talk.mp4", 14, "audio", "video")
    process = Process("run", str(clip), "--speed", "max", "--page", env={"WATCHWORD_HTTP": free_address()})

    async def work(address: str) -> None:
        async with browser(tmp_path / "profile") as page:
            await page.open(address)
            assert address in await asyncio.to_thread(process.wait_for, "until Ctrl-C", 150)
            await until(page, "document.getElementById('state').dataset.kind === 'ended'")
            assert any("conference" in line for line in await page.run(LINES))
            assert await page.run("document.querySelectorAll('#lines .partial, #lines .tentative').length") == 0
            cues = "[...document.getElementById('video').textTracks[0].cues].map(cue => cue.getCueAsHTML().textContent)"
            assert await page.run(cues) == await page.run(LINES), "the player has them too, for when it fills the screen"
            hls = await page.run("fetch('/v1/streams/talk/hls/captions.m3u8').then(given => given.text())")
            assert hls.endswith("#EXT-X-ENDLIST\n"), "other players have them, too"
            assert "building" in await page.run("document.querySelector('.scene .text').textContent")
            await until(page, "document.querySelector('.shot img').naturalWidth > 0")
            await until(page, "document.getElementById('video').videoWidth > 0")
            await page.run("document.getElementById('question').value = 'When does the conference open?'")
            await page.run("document.getElementById('asking').requestSubmit()")
            await until(page, "document.querySelector('.answer:not(.pending)')")
            assert "Monday" in await page.run("document.querySelector('.answer .told').textContent")
            await page.run(STAY)
            await page.run("document.querySelector('.answer .cite').click()")
            await until(page, "document.querySelector('.line.found')?.textContent.includes('conference')")
            await until(page, "sought !== null")
            assert 9 < await page.run("sought") < 13
            await until(page, "document.getElementById('overlay').textContent.includes('conference')")

    try:
        address = process.wait_for("the page is at").split()[-1]
        asyncio.run(work(address))
        process.popen.send_signal(signal.SIGINT)
        assert process.popen.wait(90) == 0, process.output
    finally:
        process.stop()


def test_text_is_text_and_what_is_flagged_withheld_or_corrected_is_seen(tmp_path: Path) -> None:
    async def work(there: Place, page: Page) -> None:
        source = there.source
        source.say(1, HOSTILE)
        source.say(2, "So they say.", verdict=Verdict(action=ACTION_FLAG, cause=HOSTILE))
        at = MediaTime.of(3.2).to_proto()
        source.say(3, "Nine words.", words=[Word(text="Nine", corrected=True, media_start=at), Word(text="words.", media_start=at)])
        source.withhold("segment-4", "transcript")
        source.show(5)
        times = {"media_start": MediaTime.of(5).to_proto(), "media_end": MediaTime.of(6).to_proto()}
        scene = SceneCaption(stream_id=STREAM, id="scene-0", text=HOSTILE, detail=HOSTILE, on_screen_text=[HOSTILE], model=HOSTILE, **times)
        source.tell(ClearedEvent(caption=scene), "screen-captions")
        source.fail(HOSTILE)
        await until(page, "document.querySelector('.problem')")
        lines = await page.run(LINES)
        assert lines[:3] == [HOSTILE, "So they say.flagged", "Nine words."]
        assert lines[3].startswith("What was said here is withheld")
        assert lines[4] == f"{HOSTILE} [MEDIA_UNDECODABLE]"
        assert await page.run("document.querySelector('.corrected').textContent") == "Nine"
        assert await page.run("document.querySelectorAll('.line .at')[2].textContent") == "0:03"
        cue = "document.getElementById('video').textTracks[0].cues[0].getCueAsHTML()"
        assert await page.run(f"[{cue}.textContent, {cue}.childElementCount]") == [HOSTILE, 0]
        assert await page.run("document.querySelector('.scene .text').textContent") == HOSTILE
        assert await page.run("document.querySelectorAll('main b, main img[src=x]').length") == 0
        assert await page.run("document.title") == f"{STREAM} · Watchword"
        elsewhere = there.face.address.replace("127.0.0.1", "localhost")
        assert await page.run(f"fetch('http://{elsewhere}/').catch(() => 'refused')") == "refused"

    in_page(tmp_path, work)


def test_a_picture_that_is_taken_back_is_not_shown_any_more_anywhere_on_the_page(tmp_path: Path) -> None:
    async def work(there: Place, page: Page) -> None:
        there.source.show(1, jpeg())
        there.source.show(2, jpeg())
        await until(page, "document.querySelectorAll('.shot img').length === 2 && document.getElementById('picture').naturalWidth > 0")
        assert "keyframe-2" in await page.run("document.getElementById('picture').src")
        there.source.withhold("keyframe-2", "keyframe")
        await until(page, "document.querySelector('.shot.gone')")
        assert await page.run("[...document.querySelectorAll('.shot img')].map(each => each.dataset.from.slice(-14))") == ["keyframe-1.jpg"]
        assert "keyframe-1" in await page.run("document.getElementById('picture').src")
        there.source.withhold("keyframe-1", "keyframe")
        await until(page, "document.querySelectorAll('.shot.gone').length === 2")
        assert await page.run("document.querySelectorAll('.shot img').length") == 0
        assert await page.run("document.getElementById('picture').hidden")

    in_page(tmp_path, work)


def test_a_conversation_that_was_forgotten_is_told_and_begun_anew(tmp_path: Path) -> None:
    asked = []

    async def ask(request: AskRequest) -> AsyncGenerator[AskResponse, None]:
        asked.append(request.conversation_id)
        if request.conversation_id:
            raise ConversationUnknown("it is gone")
        yield AskResponse(answer=Answer(text="On Monday.", conversation_id="conversation-1"))

    async def work(there: Place, page: Page) -> None:
        there.source.say(1, "One.")
        await until(page, "document.querySelector('.line')")
        for number, told in enumerate(("On Monday.", "not kept any more", "On Monday."), 1):
            await page.run("document.getElementById('question').value = 'When?'")
            await page.run("document.getElementById('asking').requestSubmit()")
            await until(page, f"document.querySelectorAll('.answer:not(.pending)').length === {number}")
            assert told in await page.run("document.querySelector('.answer .told').textContent")
            assert await page.run("document.getElementById('conversation').hidden") is (number == 2)

    in_page(tmp_path, work, ask=ask)
    assert asked == ["", "conversation-1", ""]


def test_an_address_that_names_no_stream_shows_what_there_is(tmp_path: Path) -> None:
    async def within() -> None:
        async with serving() as there, browser(tmp_path) as page:
            there.source.say(1, "One.")
            await page.open(f"http://{there.face.address}/#100%")
            await until(page, "document.querySelector('.line')")

    asyncio.run(within())


def test_a_gateway_that_is_started_again_in_mid_stream_is_come_back_to_and_nothing_comes_twice(tmp_path: Path) -> None:
    address = free_address()

    async def within() -> None:
        async with browser(tmp_path) as page:
            async with serving(address=address) as first:
                first.source.say(1, "One.")
                said = TranscriptSegment(stream_id=STREAM, id="segment-2", text="Tow", words=[Word(text="Tow")])
                first.source.tell(ClearedEvent(segment=said))
                await page.open(f"http://{address}/")
                await until(page, "document.querySelectorAll('.line').length === 2")
                assert await page.run("document.querySelector('.partial .tentative').textContent") == "Tow"
            await until(page, "document.getElementById('state').dataset.kind === 'broken'")
            hub = Hub(MemoryBus())
            for record in first.source.records:
                hub.take(record)
            async with serving(address=address, hub=hub) as second:
                second.source.records = first.source.records
                second.source.say(2, "Two.")
                second.source.say(3, "Three.")
                second.source.end()
                await until(page, "document.getElementById('state').dataset.kind === 'ended'")
                assert await page.run(LINES) == ["One.", "Two.", "Three."]

    asyncio.run(within())


def test_another_stream_of_the_same_name_begins_on_an_empty_page(tmp_path: Path) -> None:
    address = free_address()

    async def within() -> None:
        async with browser(tmp_path) as page:
            async with serving(address=address) as first:
                for number in range(3):
                    first.source.say(number, f"Before {number}.")
                await page.open(f"http://{address}/")
                await until(page, "document.querySelectorAll('.line').length === 3")
            async with serving(address=address) as second:
                second.source.started_at = 2000.5
                second.source.say(1, "After.")
                await until(page, "document.querySelectorAll('.line').length === 1")
                assert await page.run(LINES) == ["After."]

    asyncio.run(within())


def test_where_nothing_came_the_page_says_so_of_that_stream_alone(tmp_path: Path) -> None:
    address = free_address()
    empty = "['captions-empty', 'scenes-empty'].map(id => document.getElementById(id).textContent)"

    async def within() -> None:
        async with browser(tmp_path) as page:
            async with serving(address=address) as first:
                first.source.end()
                await page.open(f"http://{address}/")
                await until(page, "document.getElementById('state').dataset.kind === 'ended'")
                assert await page.run(empty) == ["Nothing was said.", "No pictures came."]
            async with serving(address=address) as second:
                second.source.started_at = 2000.5
                second.source.show(1)
                await until(page, "document.querySelectorAll('.scene').length === 1")
                assert "appears here" in (await page.run(empty))[0]

    asyncio.run(within())


def test_a_key_that_is_set_is_asked_for_and_opens_everything(tmp_path: Path) -> None:
    async def work(there: Place, page: Page) -> None:
        there.source.say(1, "Secret.")
        there.source.show(1, jpeg())
        await until(page, "document.getElementById('locked').open")
        assert await page.run(LINES) == []
        for shown in ("wrong", "s3cret key"):
            await page.run(f"document.getElementById('key').value = {json.dumps(shown)}")
            await page.run("document.getElementById('unlocking').requestSubmit()")
            if shown == "wrong":
                await until(page, "document.getElementById('wrong').textContent && document.getElementById('locked').open")
        await until(page, "document.querySelector('.line')")
        assert await page.run(LINES) == ["Secret."]
        await until(page, "document.querySelector('.shot img').naturalWidth > 0")
        assert "s3cret" not in await page.run("performance.getEntries().map(entry => entry.name).join() + location")

    in_page(tmp_path, work, key="s3cret key")


def jpeg() -> bytes:
    stored = BytesIO()
    Image.new("RGB", (64, 36), (90, 120, 150)).save(stored, "JPEG")
    return stored.getvalue()


def test_of_a_long_stream_the_page_keeps_the_latest_and_says_so(tmp_path: Path) -> None:
    async def work(there: Place, page: Page) -> None:
        for number in range(700):
            there.source.say(number, f"Sentence {number}.")
        await until(page, "document.querySelector('#lines li:last-child')?.textContent.includes('Sentence 699.')")
        assert await page.run("document.querySelectorAll('#lines li').length") == 500
        assert "last 500" in await page.run("document.getElementById('captions-dropped').textContent")

    in_page(tmp_path, work)
