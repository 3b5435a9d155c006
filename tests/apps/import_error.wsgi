"""Raises while it is loaded."""
raise RuntimeError("not today")
