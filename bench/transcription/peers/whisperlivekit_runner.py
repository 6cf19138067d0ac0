"""WhisperLiveKit's own server, fed through its websocket `/asr`: lines are promised, the buffer's text is tentative.

Run by the Python of its environment. The default policy of the package is SimulStreaming (AlignAtt), which needs the decoder as
a PyTorch checkpoint; LocalAgreement needs the CTranslate2 weights only. The rest are the package's defaults: voice activity
controller on, 0.1 s least chunk, buffer trimmed at segments beyond 15 s.
"""

import asyncio
import os
import sys
import wave
from pathlib import Path

import feed
import websockets

END_TIMEOUT_S = 300.0


async def session(port: int, pcm: bytes, pid: int) -> None:
    """Play the audio and note each message."""
    screen = feed.Screen(pid)

    async with websockets.connect(f"ws://127.0.0.1:{port}/asr", max_size=None) as connection:

        async def listen() -> None:
            async for message in feed.messages(connection):
                if message.get("type") == "ready_to_stop":
                    return
                if "lines" in message:
                    spoken = [line for line in message["lines"] if line["speaker"] != -2 and line["text"]]
                    screen.show(words(" ".join(line["text"] for line in spoken)), words(message["buffer_transcription"]))

        listening = asyncio.create_task(listen())
        await feed.play(pcm, connection.send, screen)
        screen.spent()
        await connection.send(b"")
        await asyncio.wait_for(listening, END_TIMEOUT_S)
    screen.done(len(pcm) / 32_000, ("whisperlivekit", "faster-whisper", "ctranslate2", "torch"))


def words(text: str) -> feed.Words:
    """The protocol has times of lines, not of words."""
    return [(word, None, None) for word in text.split()]


def command(port: int, policy: str, checkpoint: Path | None, warm_up: Path) -> list[str]:
    """The server's command line."""
    line = [str(Path(sys.executable).parent / "whisperlivekit-server"), "--host", "127.0.0.1", "--port", str(port), "--pcm-input"]
    line += [
        "--lan",
        "en",
        "--backend",
        "faster-whisper",
        "--backend-policy",
        policy,
        "--log-level",
        "WARNING",
        "--warmup-file",
        str(warm_up),
    ]
    if policy == "localagreement":
        return [*line, "--model_dir", feed.model_directory()]
    from whisperlivekit.whisper import _ALIGNMENT_HEADS

    heads = _ALIGNMENT_HEADS["tiny.en"].decode()
    return [
        *line,
        "--decoder-model-path",
        str(checkpoint),
        "--encoder-model-path",
        feed.model_directory(),
        "--custom-alignment-heads",
        heads,
    ]


def quiet(path: Path) -> None:
    """A second of silence to warm up with: without a file the server tries to download one."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(32_000))


def main() -> None:
    """Play one file."""
    parser = feed.arguments()
    parser.add_argument("--policy", choices=("localagreement", "simulstreaming"), default="localagreement")
    asked = parser.parse_args()
    checkpoint = Path(sys.prefix) / "weights" / "tiny.en.pt"
    if asked.policy == "simulstreaming" and not checkpoint.exists():
        raise SystemExit(f"{checkpoint} is missing: setup.sh takes a checkpoint as its second argument")
    warm_up = asked.wav.with_name("warm-up.wav")
    quiet(warm_up)
    port = feed.free_port()
    pcm = feed.pcm_s16le(asked.wav)
    os.environ["HF_HUB_OFFLINE"] = "1"
    asyncio.run(feed.serve(command(port, asked.policy, checkpoint, warm_up), port, lambda pid: session(port, pcm, pid)))


if __name__ == "__main__":
    main()
