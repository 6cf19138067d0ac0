"""The engines behind the port of `pipeline.transcribe.model`, one module each."""
