"""Encoding AV1 without becoming a real-time process.

SVT-AV1 raises whoever encodes with it to SCHED_FIFO at priority 99 where it may, as root may in a container, and everything that this
process starts from then on inherits it. A service that was started so starved all others on two cores for minutes.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ordinary_priority() -> Iterator[None]:
    """Whatever happens within, this thread is scheduled afterwards as it was before."""
    if sys.platform != "linux":
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)
