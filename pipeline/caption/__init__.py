"""Puts scenes into words: the port `Captioner`, its adapters, and the stage that asks it."""
