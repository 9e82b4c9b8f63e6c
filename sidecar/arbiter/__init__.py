"""Rung 4: the arbiter process."""
