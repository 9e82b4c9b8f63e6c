"""Rung 0: frozen facts and requests, everything that crosses a wire or is journaled."""
