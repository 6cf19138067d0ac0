"""The safety filter: judges keyframes, words and descriptions."""
