"""How fast everything is, and what it costs."""
