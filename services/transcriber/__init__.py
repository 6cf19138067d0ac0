"""The transcriber: speech to words."""
