"""Rung 1: the decisions. Pure: no I/O, no clock, no randomness, no logging, no asyncio."""
