"""Rung 4: the sidecar process."""
