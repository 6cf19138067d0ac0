"""How fast the scene memory takes in and answers, by how much it holds: 10,000 to a million events, on either database.

    python -m bench.memory --events 10000,100000,1000000
    python -m bench.memory --events 10000,100000 --store postgresql://watchword@/postgres?host=/run/postgresql

Events are sentences of 4 to 16 words, drawn by Zipf's law from the vocabulary of the embedding model's tokenizer, 20,000 a
stream, with times, in batches of 256. Vectors are those of real sentences as all-MiniLM-L6-v2 gives them, each with noise. A query is
three words of a stored sentence with that sentence's vector, noise on it; it searches both ways and reads 24 moments of each. Scopes: one
stream, an hour of one stream, and all streams. `recall` is the share of the 24 nearest by vector that an exact search gives too.
"""

import argparse
import asyncio
import json
import platform
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.memory.meter import Meter
from bench.memory.synthetic import PER_STREAM, Talk, batches
from pipeline.memory.open import open_store
from pipeline.memory.sql import SqlStore
from pipeline.memory.store import EVIDENCE, Scope, Span, Vectors
from pipeline.timeline import MediaTime

QUERIES = 200
LIMIT = 24
HOUR = MediaTime.of(3600)
SCOPES = ("stream", "hour", "all")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.memory", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", default="10000,100000", help="how many events, one after another, between commas")
    parser.add_argument("--store", default="", help="a file or postgresql:// address; a file in a temporary folder unless given")
    parser.add_argument("--filled", type=int, default=0, help="how many events an earlier run left in the store")
    parser.add_argument("--queries", type=int, default=QUERIES)
    parser.add_argument("--out", type=Path, help="write one JSON object a line to this file too")
    arguments = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}")
    talk = Talk.make()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_run(arguments, talk, arguments.store or f"{folder}/memory.db"))


async def _run(arguments: argparse.Namespace, talk: Talk, address: str) -> None:
    store = open_store(address, max_moments=10**9)
    filled = arguments.filled
    meter = await Meter.of(store)
    try:
        for events in map(int, arguments.events.split(",")):
            wall = cpu = 0.0
            for batch in batches(talk, filled, events):
                started, worked = time.perf_counter(), meter.seconds()
                await store.put_all(batch)
                wall, cpu = wall + time.perf_counter() - started, cpu + meter.seconds() - worked
            many = events - filled
            result: dict[str, float] = {"events": events}
            if many:
                result |= {"ingest_per_s": round(many / wall), "ingest_per_cpu_s": round(many / cpu)}
            filled = events
            for name in SCOPES:
                told = await _ask(store, meter, talk, events, name, arguments.queries)
                result |= {f"{name}_{key}": value for key, value in told.items()}
            line = json.dumps(result)
            print(line, flush=True)
            if arguments.out:
                with arguments.out.open("a") as out:
                    out.write(f"{line}\n")
    finally:
        await store.close()


async def _ask(store: SqlStore, meter: Meter, talk: Talk, events: int, name: str, queries: int) -> dict[str, float]:
    random = np.random.default_rng(7)
    times, worked, recalls = [], [], []
    for _ in range(queries):
        number = int(random.integers(events))
        moment = talk.moment(number, PER_STREAM)
        vector = talk.question(number, random)
        span = Span(MediaTime(max(0, moment.start.nanos - HOUR.nanos // 2)), moment.start + MediaTime(HOUR.nanos // 2))
        scope = Scope(() if name == "all" else (moment.stream_id,), EVIDENCE, span if name == "hour" else Span())
        words = [str(word) for word in random.choice(moment.text.split(), 3)]
        begun, started = meter.seconds(), time.perf_counter()
        hits = await store.search(scope, words, vector, limit=LIMIT)
        times.append(1000 * (time.perf_counter() - started))
        worked.append(1000 * (meter.seconds() - begun))
        if name == "stream" and len(recalls) < 50:
            recalls.append(_recall(talk, number, events, vector, {int(found.moment.source_id[2:]) for found in hits.by_vector}))
    told = {
        "p50_ms": round(float(np.percentile(times, 50)), 1),
        "p95_ms": round(float(np.percentile(times, 95)), 1),
        "p50_cpu_ms": round(float(np.percentile(worked, 50)), 1),
        "p95_cpu_ms": round(float(np.percentile(worked, 95)), 1),
    }
    return told | ({"recall": round(float(np.mean(recalls)), 3)} if recalls else {})


def _recall(talk: Talk, number: int, events: int, vector: Vectors, found: set[int]) -> float:
    first = number // PER_STREAM * PER_STREAM
    numbers = range(first, min(events, first + PER_STREAM))
    exact = np.argsort(-(talk.vectors(numbers) @ vector), kind="stable")[:LIMIT]
    return len({first + int(each) for each in exact} & found) / min(LIMIT, len(numbers))


if __name__ == "__main__":
    main()
