"""The captioner: scenes to descriptions."""
