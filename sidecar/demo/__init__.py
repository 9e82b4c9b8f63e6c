"""Rung 4: a simulated venue and toy components, as processes, and the demonstration that runs them."""
