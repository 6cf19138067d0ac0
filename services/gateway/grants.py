"""Leave to see one thing of one stream, in its address: for players, which cannot show a key as a header.

A grant is made from the key, opens nothing else, and holds until the key is changed. It is given to everybody who watches, so
guessing the key from it is made dear (RFC 7914, scrypt); a key of 32 random bytes is beyond guessing in any case.
"""

import functools
import hashlib
import hmac
import re
from urllib.parse import parse_qs

from starlette.types import Scope

PARAMETER = "grant"
"""The name of the grant in an address."""
FILE = re.compile(r"/v1/streams/([^/]+)/hls/(?:captions|master)[^/]*")
"""What is there for players: the path of a file of HLS, with its stream."""


def grant(key: str, stream_id: str) -> str:
    """What opens the HLS of a stream; empty where there is no key."""
    return hmac.digest(_derived(key), f"watchword hls {stream_id}".encode(), hashlib.sha256).hex()[:32] if key else ""


def is_granted(key: str, scope: Scope) -> bool:
    """Whether a request shows a grant of what it asks for."""
    asked = FILE.fullmatch(scope["path"])
    if asked is None or scope["method"] not in ("GET", "HEAD"):
        return False
    shown = parse_qs(scope["query_string"].decode("latin-1")).get(PARAMETER, [])
    return len(shown) == 1 and hmac.compare_digest(shown[0].encode(), grant(key, asked[1]).encode())


@functools.lru_cache(maxsize=1)
def _derived(key: str) -> bytes:
    """Takes 16 MiB and some 50 ms, once for a key."""
    return hashlib.scrypt(key.encode(), salt=b"watchword hls", n=2**14, r=8, p=1, dklen=32)
