"""A headless Chromium that runs JavaScript in a page, over its debugging pipe (Chrome DevTools Protocol)."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--remote-debugging-pipe"]
TIMEOUT_S = 60
MOST_BYTES = 1 << 22


class Page:
    """One page of a browser."""

    def __init__(self, commands: int, answers: asyncio.StreamReader) -> None:
        self._commands, self._answers = commands, answers
        self._asked = 0
        self._session = ""

    async def open(self, address: str) -> None:
        """Go to an address, and wait until it is there."""
        target = (await self._ask("Target.createTarget", url="about:blank"))["targetId"]
        self._session = (await self._ask("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        gone = await self._ask("Page.navigate", url=address)
        assert "errorText" not in gone, gone
        await self.run("new Promise(done => document.readyState === 'complete' ? done() : addEventListener('load', done))")

    async def run(self, script: str) -> Any:
        """The value of an expression, of a promise when it is kept; within `TIMEOUT_S`."""
        told = await self._ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    async def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._asked += 1
        command: dict[str, Any] = {"id": self._asked, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        async with asyncio.timeout(TIMEOUT_S):
            while (answer := json.loads((await self._answers.readuntil(b"\0"))[:-1])).get("id") != self._asked:
                pass
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result


@asynccontextmanager
async def browser(profile: Path) -> AsyncIterator[Page]:
    """A browser with one page; `profile` is a folder that it may write."""
    assert CHROMIUM is not None
    commands_in, commands_out = os.pipe()
    answers_in, answers_out = os.pipe()
    # Chromium reads commands from descriptor 3 and writes answers to 4; the shell puts the pipes there.
    command = f'exec "$0" "$@" 3<&{commands_in} 4>&{answers_out}'
    arguments = [CHROMIUM, *OPTIONS, f"--user-data-dir={profile}", "about:blank"]
    process = await asyncio.create_subprocess_exec(
        "/bin/bash", "-c", command, *arguments, pass_fds=(commands_in, answers_out), stderr=asyncio.subprocess.DEVNULL
    )
    os.close(commands_in)
    os.close(answers_out)
    answers = asyncio.StreamReader(limit=MOST_BYTES)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(answers), os.fdopen(answers_in, "rb", buffering=0)
    )
    try:
        yield Page(commands_out, answers)
    finally:
        process.terminate()
        await process.wait()
        transport.close()
        os.close(commands_out)
