"""How well and how soon speech becomes words, Watchword and others side by side: `python -m bench.transcription --help`."""
