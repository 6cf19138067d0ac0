"""Judging what was said, shown and described against policies, before anyone sees it."""

from pipeline.safety.judge import Judge, Judged, JudgedWords
from pipeline.safety.policy import Kind, Policy, Subject, decide, passes

__all__ = ["Judge", "Judged", "JudgedWords", "Kind", "Policy", "Subject", "decide", "passes"]
