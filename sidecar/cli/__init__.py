"""Rung 5: the command `sidecar`; the object graph is built here."""
