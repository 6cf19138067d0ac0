"""How Watchword-Tiny is made: synthetic scenes with known truth, a small network, its training, and what it is worth."""
