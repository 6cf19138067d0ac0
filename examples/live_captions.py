"""Captions of a WAV file as if it were a microphone, with grpcio and the generated stubs: live_captions.py FILE HOST:PORT [LANGUAGE]."""

import shutil
import sys
import time
import wave

import grpc
from watchword.v1.transcribe_service_pb2 import Pcm, SampleFormat, StreamingTranscribeConfig, StreamingTranscribeRequest
from watchword.v1.transcribe_service_pb2_grpc import TranscribeServiceStub

if len(sys.argv) < 3:
    sys.exit(f"usage: {sys.argv[0]} FILE HOST:PORT [LANGUAGE]")
path, address, language = [*sys.argv[1:], ""][:3]
try:
    sound = wave.open(path)  # noqa: SIM115
except (OSError, wave.Error) as error:
    sys.exit(f"{path}: {error}")
if sound.getsampwidth() != 2:
    sys.exit(f"{path}: this example sends 16-bit samples only")


def requests():
    """The config, then a tenth of a second of sound at a time, when a microphone would have it; the end ends the stream."""
    with sound:
        pcm = Pcm(format=SampleFormat.SAMPLE_FORMAT_S16LE, sample_rate=sound.getframerate(), channels=sound.getnchannels())
        config = StreamingTranscribeConfig(stream_id="microphone", interim_results=True, language=language, pcm=pcm)
        yield StreamingTranscribeRequest(config=config)
        started, sent = time.monotonic(), 0
        while piece := sound.readframes(sound.getframerate() // 10):
            sent += len(piece)
            time.sleep(max(started + sent / (2 * pcm.channels * pcm.sample_rate) - time.monotonic(), 0))
            yield StreamingTranscribeRequest(audio=piece)


def show(segment):
    """A final is a line; a partial is written over the partial before: its stable words, then in grey what may still change."""
    at, terminal = segment.media_start.ToMilliseconds() // 1000, sys.stdout.isatty()
    line, clear = f"{at // 60}:{at % 60:02}  {segment.text}", "\r\033[K" if terminal else ""
    if segment.is_final:
        print(f"{clear}{line}{'  (corrected)' if segment.corrected else ''}", flush=True)
    elif terminal:
        texts = [word.text if word.glued else f" {word.text}" for word in segment.words]
        room = shutil.get_terminal_size().columns - 1  # a longer line could not be taken back
        told = f"{at // 60}:{at % 60:02}  {''.join(texts).strip()}"[-room:]
        tentative = min(len(told), len("".join(texts[segment.stable :])))
        settled = told[: len(told) - tentative]
        print(f"{clear}{settled}\033[2m{told[len(settled) :]}\033[0m", end="", flush=True)


with grpc.insecure_channel(address) as channel:
    try:
        for response in TranscribeServiceStub(channel).StreamingTranscribe(requests()):
            if response.HasField("segment"):
                show(response.segment)
    except grpc.RpcError as error:
        sys.exit(f"{error.code().name}: {error.details()}")
