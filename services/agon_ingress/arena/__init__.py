"""Battles: blind answers side by side, votes, boards."""
