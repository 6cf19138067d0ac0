"""Benches of retrieval and answers."""
