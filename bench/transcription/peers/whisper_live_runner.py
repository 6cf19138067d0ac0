"""WhisperLive's own server, fed through its websocket: completed segments are promised, the last one is tentative.

Run by the Python of its environment. The options are those that its client sends by default, with the language set. Its server
says nothing at the end of the audio: its client waits until nothing came for some seconds, and then takes the last segment as
it is, and so does this.
"""

import asyncio
import json
import sys
import uuid

import feed
import numpy as np
import websockets

QUIET_S = 15.0
"""How long the client waits for more, by default."""
END_TIMEOUT_S = 60.0
OPTIONS = {
    "language": "en",
    "task": "transcribe",
    "model": "tiny.en",
    "use_vad": True,
    "send_last_n_segments": 10,
    "no_speech_thresh": 0.45,
    "clip_audio": False,
    "same_output_threshold": 10,
}
SERVER = """
import sys
from whisper_live.server import TranscriptionServer
TranscriptionServer().run("127.0.0.1", port=int(sys.argv[1]), backend="faster_whisper", faster_whisper_custom_model_path=sys.argv[2])
"""


async def session(port: int, pcm: bytes, pid: int) -> None:
    """Play the audio and note each message."""
    screen = feed.Screen(pid)
    ready = asyncio.Event()
    completed: dict[str, str] = {}
    heard_at = 0.0

    async with websockets.connect(f"ws://127.0.0.1:{port}", max_size=None) as connection:

        async def listen() -> None:
            nonlocal heard_at
            async for message in feed.messages(connection):
                if message.get("message") == "SERVER_READY":
                    ready.set()
                if message.get("status") in ("ERROR", "WAIT"):
                    raise SystemExit(f"the server refused: {message}")
                if "segments" in message:
                    # The message has the last ten segments; a completed one does not change, and starts where no other does.
                    completed.update({part["start"]: part["text"] for part in message["segments"] if part["completed"]})
                    rest = [part["text"] for part in message["segments"] if not part["completed"]]
                    if screen.show(words(" ".join(completed.values())), words(" ".join(rest))):
                        heard_at = 0.0

        async def send(chunk: bytes) -> None:
            await connection.send((np.frombuffer(chunk, "<i2").astype(np.float32) / 32768).tobytes())

        listening = asyncio.create_task(listen())
        await connection.send(json.dumps(OPTIONS | {"uid": str(uuid.uuid4())}))
        await asyncio.wait_for(ready.wait(), END_TIMEOUT_S)
        await feed.play(pcm, send, screen)
        screen.spent()
        ended = heard_at = screen.now_s
        while screen.now_s < min(heard_at + QUIET_S, ended + END_TIMEOUT_S):
            await screen.wait_until(screen.now_s + feed.CHUNK_S)
        screen.keep_all()
        await connection.send(b"END_OF_AUDIO")
        await asyncio.wait_for(listening, END_TIMEOUT_S)
    screen.done(len(pcm) / 32_000, ("whisper-live", "faster-whisper", "ctranslate2", "torch"))


def words(text: str) -> feed.Words:
    """The protocol has times of segments, and of words only on demand."""
    return [(word, None, None) for word in text.split()]


def main() -> None:
    """Play one file."""
    asked = feed.arguments().parse_args()
    port = feed.free_port()
    pcm = feed.pcm_s16le(asked.wav)
    command = [sys.executable, "-c", SERVER, str(port), feed.model_directory()]
    asyncio.run(feed.serve(command, port, lambda pid: session(port, pcm, pid)))


if __name__ == "__main__":
    main()
