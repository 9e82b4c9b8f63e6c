"""Rung 2: the configuration; each field says what it does, its unit, and what raising it costs."""
