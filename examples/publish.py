"""Publish a recording to Watchword with kafka-python, PyAV and the generated messages: publish.py FILE STREAM HOST:PORT."""

import sys
import time

import av
from google.protobuf.duration_pb2 import Duration
from kafka import KafkaProducer
from watchword.v1.events_pb2 import AudioEvent, VideoEvent
from watchword.v1.media_pb2 import AudioParameters, MediaChunk, Packet, Rational, StreamEnd, VideoParameters

path, stream_id, broker = sys.argv[1:]
started = time.time()
producer = KafkaProducer(bootstrap_servers=broker, acks="all", max_request_size=1_048_576)
events, parameters = {"audio": AudioEvent, "video": VideoEvent}, {"audio": AudioParameters, "video": VideoParameters}
forms = {"audio": ("sample_rate", "channels"), "video": ("width", "height")}


def send(kind, **event):
    """Append an event to the topic of its track; waits until the broker has it."""
    headers = [("watchword-started", str(started).encode())]
    producer.send(f"watchword.{kind}", events[kind](**event).SerializeToString(), key=stream_id.encode(), headers=headers).get(30)


def duration(seconds):
    """Seconds as a message carries them."""
    return Duration(seconds=int(seconds), nanos=round((seconds - int(seconds)) * 1e9))


with av.open(path) as container:
    zero = (container.start_time or 0) / 1e6  # seconds on the file's clock that become media time zero
    runs, sequences, ends = {}, {"audio": 0, "video": 0}, {"audio": 0.0, "video": 0.0}
    for packet in container.demux([s for s in (container.streams.best("audio"), container.streams.best("video")) if s]):
        kind, unit, codec = packet.stream.type, packet.stream.time_base, packet.stream.codec_context
        run = runs.setdefault(kind, [])
        if run and (not packet.size or (packet.dts - run[0].dts) * unit >= 0.25):  # the empty packet ends the track
            ends[kind] = max(ends[kind], float(max(p.pts + p.duration for p in run) * unit) - zero)
            time.sleep(max(started + ends[kind] - time.time(), 0))  # a recording goes at its natural pace
            chunk = MediaChunk(stream_id=stream_id, epoch=int(started * 1000), sequence=sequences[kind], packets=run)
            chunk.time_base.CopyFrom(Rational(numerator=unit.numerator, denominator=unit.denominator))
            chunk.media_offset.CopyFrom(duration(-zero))
            form = {name: getattr(codec, name) for name in forms[kind]}
            getattr(chunk, kind).MergeFrom(parameters[kind](codec=codec.codec.canonical_name, extradata=codec.extradata or b"", **form))
            send(kind, chunk=chunk)
            sequences[kind], runs[kind] = sequences[kind] + 1, []
        if packet.size:
            times = {"pts": packet.pts, "dts": packet.dts, "duration": packet.duration or 0}
            runs[kind].append(Packet(data=bytes(packet), keyframe=packet.is_keyframe or kind == "audio", **times))

for kind, end in ends.items():  # the last word on both topics, also for a track that there is not
    send(kind, end=StreamEnd(stream_id=stream_id, media_end=duration(end)))
producer.close()
