"""Standing queries in a real browser: `EventSource` comes back by itself, misses nothing, and stops when all is told."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.services.browser import CHROMIUM, Page, browser
from tests.services.test_standing_http import FIRE, Place, run

pytestmark = [
    pytest.mark.connected,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: .ci/tools brings it where apt-get can"),
]

LISTEN = """
seen = [];
source = new EventSource(%s);
for (const name of ["alert", "gap", "end"])
    source.addEventListener(name, event => seen.push([name, event.lastEventId, JSON.parse(event.data)]));
new Promise(done => { source.onopen = () => done("open"); source.onerror = () => done("error " + source.readyState); })
"""
UNTIL = "new Promise(done => { const look = setInterval(() => { if (%s) { clearInterval(look); done(); } }, 20); })"


async def listen(page: Page, there: Place, address: str = "") -> Any:
    return await page.run(LISTEN % json.dumps(f"{address}/v1/standing?{urlencode(FIRE)}"))


async def seen(page: Page, many: int) -> list[Any]:
    await page.run(UNTIL % f"seen.length >= {many}")
    events: list[Any] = await page.run("seen")
    return events


def test_a_page_hears_alerts_comes_back_after_a_break_and_stops_at_the_end(tmp_path: Path) -> None:
    async def work(there: Place) -> None:
        async with browser(tmp_path) as page:
            await page.open(f"http://{there.face.address}/")
            assert await listen(page, there) == "open"
            await there.say("Fire one.")
            ((name, identity, alert),) = await seen(page, 1)
            assert (name, identity, alert["evidence"][0]["text"]) == ("alert", alert["id"], "Fire one.")
            for connection in list(there.face._server.server_state.connections):
                connection.transport.abort()
            await there.say("Fire two.")
            await there.say("Fire three.")
            texts = [event[2]["evidence"][0]["text"] for event in await seen(page, 3)]
            assert texts == ["Fire one.", "Fire two.", "Fire three."], "nothing is missed and nothing comes twice"
            await there.end()
            assert (await seen(page, 4))[3][0] == "end"
            await page.run(UNTIL % "source.readyState === EventSource.CLOSED")

    run(work)


def test_a_page_of_another_origin_hears_nothing_and_begins_nothing(tmp_path: Path) -> None:
    async def work(there: Place) -> None:
        async with browser(tmp_path) as page:
            port = there.face.address.rpartition(":")[2]
            await page.open(f"http://localhost:{port}/")
            assert await listen(page, there, f"http://{there.face.address}") == "error 2"
            query = json.dumps(f"http://{there.face.address}/v1/standing?{urlencode(FIRE)}")
            await page.run(
                f"new Promise(done => {{ const image = new Image(); image.onerror = done; image.src = {query}; }}).then(() => 0)"
            )
            assert not there.feeds._feeds

    run(work)
