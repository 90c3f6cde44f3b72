"""The stack without Docker: finds or starts Postgres, Redis and Kafka, then starts and supervises the services.

Everything runs as a child of one process, in a process group of its own, and dies with it. `agon up` is the command
in front of it; tests use the same servers.
"""
