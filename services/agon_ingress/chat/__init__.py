"""`/v1/chat/completions`: asking, and what was stored."""
