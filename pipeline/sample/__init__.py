"""SAMPLE: the few frames of a stream that are worth looking at, and the scenes they belong to."""
