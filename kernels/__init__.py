"""Array operations: arrays in, arrays out; no I/O, no container format, no message."""
