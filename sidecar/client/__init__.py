"""Rung 3: what a component imports."""
