"""Encoding AV1 leaves this process scheduled as it was."""

import os
import sys

import pytest

from tests.synthetic import Spec, clip

pytestmark = pytest.mark.unit


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how a thread is scheduled")
def test_what_encoded_av1_is_no_real_time_process() -> None:
    before = os.sched_getscheduler(0)
    clip(Spec(seconds=1.04, audio=None, video="libsvtav1"))
    assert os.sched_getscheduler(0) == before != os.SCHED_FIFO
