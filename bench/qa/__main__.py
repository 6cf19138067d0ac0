"""How soon evidence and answers come, by how much the memory holds: the quoting answerer with the real embedder.

    python -m bench.qa --events 10000,100000
    python -m bench.qa --events 10000,100000 --no-reranker

Events are those of `bench.memory`: 20,000 a stream, or `--per-stream`. A question asks what is said about three words of a
stored sentence of one stream; no two are alike, so the vectors of most words are new. Wall and processor time, in ms.
"""

import argparse
import asyncio
import json
import platform
import tempfile
import time

import numpy as np
from watchword.v1.answer_pb2 import Answer, Retrieved

from bench.memory.synthetic import PER_STREAM, Talk, batches
from pipeline.memory.open import open_store
from pipeline.memory.store import Moment
from pipeline.qa import model, reranker
from pipeline.qa.answer import Answerer
from pipeline.qa.extractive import ExtractiveAnswerer

WARM_UP = 5


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(prog="python -m bench.qa", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", default="10000,100000", help="how many events, one after another, between commas")
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--per-stream", type=int, default=PER_STREAM)
    parser.add_argument("--no-reranker", action="store_true", help="quote by comparing alone")
    arguments = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}")
    asyncio.run(_run(Talk.make(), arguments))


async def _run(talk: Talk, arguments: argparse.Namespace) -> None:
    per_stream, questions, reads = arguments.per_stream, arguments.questions, not arguments.no_reranker
    embedder, filled = model.load(), 0
    looks_twice = reranker.load() if reads else None
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"{folder}/memory.db", max_moments=10**9)
        for events in map(int, arguments.events.split(",")):
            for batch in batches(talk, filled, events, per_stream=per_stream):
                await store.put_all(batch)
            filled = events
            answerer = ExtractiveAnswerer(store, embedder, reranker=looks_twice)
            numbers = [int(np.random.default_rng(each).integers(events)) for each in range(questions + WARM_UP)]
            told = [await _ask(answerer, talk.moment(number, per_stream)) for number in numbers][WARM_UP:]
            said = {"events": events, "per_stream": per_stream, "questions": questions, "reranker": reads, **_spread(told)}
            print(json.dumps(said), flush=True)
        await store.close()
    if looks_twice is not None:
        await looks_twice.close()
    await embedder.close()


async def _ask(answerer: Answerer, moment: Moment) -> dict[str, float]:
    words = " ".join(map(str, np.random.default_rng(moment.start.millis).choice(moment.text.split(), 3)))
    begun, worked, told = time.perf_counter(), time.process_time(), {}
    async for part in answerer.ask(moment.stream_id, f"What is said about {words}?"):
        if isinstance(part, Retrieved | Answer):
            name = "evidence" if isinstance(part, Retrieved) else "answer"
            told[f"{name}_ms"] = 1000 * (time.perf_counter() - begun)
            told[f"{name}_cpu_ms"] = 1000 * (time.process_time() - worked)
    return told


def _spread(told: list[dict[str, float]]) -> dict[str, float]:
    percents = (50, 95)
    return {
        f"{name}_p{percent}": round(float(np.percentile([row[name] for row in told], percent)), 1)
        for name in told[0]
        for percent in percents
    }


if __name__ == "__main__":
    main()
