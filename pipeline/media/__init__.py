"""Compressed media: where it comes from, how it travels in chunks, and how it becomes sound and pictures."""
