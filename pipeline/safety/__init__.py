"""Judging what was said, shown and described against policies, before anyone sees it."""
