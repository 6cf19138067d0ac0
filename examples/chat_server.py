"""A small chat model behind OpenAI's API on this machine, for WATCHWORD_CHAT: chat_server.py [PORT] [MODEL.gguf].

Without a file it serves SmolLM2-135M, which `watchword models pull smollm2` fetches. Needs llama.cpp's server: pip install xllamacpp.
"""

import contextlib
import sys
import threading

import xllamacpp

from pipeline.errors import ModelError
from pipeline.models import locate

arguments = sys.argv[1:]
port = int(arguments[0]) if arguments else 8080
file = arguments[1] if len(arguments) > 1 else ""
try:
    model = file or str(locate("smollm2") / "SmolLM2-135M-Instruct.Q4_1.gguf")
except ModelError as error:
    sys.exit(str(error))

asked = xllamacpp.CommonParams()
asked.model.path, asked.port = model, port
asked.n_ctx, asked.n_parallel, asked.verbosity = 4096, 1, 0
server = xllamacpp.Server(asked)
print(f"WATCHWORD_CHAT={server.listening_address}/v1#{'local' if file else 'smollm2'}", flush=True)
with contextlib.suppress(KeyboardInterrupt):
    threading.Event().wait()
