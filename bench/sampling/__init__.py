"""Cuts, dissolves and events found, and what finding them costs, Watchword and others side by side: `python -m bench.sampling --help`."""
