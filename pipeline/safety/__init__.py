"""Judging what was said, shown and described against policies, before anyone sees it."""

from pipeline.safety.judge import Judge, Judged, JudgedWords
from pipeline.safety.policy import POLICIES, Kind, Policy, decide, passes, unscored

__all__ = ["POLICIES", "Judge", "Judged", "JudgedWords", "Kind", "Policy", "decide", "passes", "unscored"]
