"""Speech into words: partials while it is heard, a final at each pause."""
