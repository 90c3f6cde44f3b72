"""agon: a self-hosted arena for language models. Importing it is free; every part is imported by its own name."""

__version__ = "0.1.0"
