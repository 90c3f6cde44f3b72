"""Bodies of requests: what they may hold, how they are read, and how a mistake in one is told."""
