"""The ingress: HTTP in, Kafka out, tokens from Redis back to the client. It holds no model and imports no torch."""
