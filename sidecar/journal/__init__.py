"""The replicated log on one stream; sits above broker/ within rung 2."""
