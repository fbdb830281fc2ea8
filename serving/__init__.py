"""Serving: bundle to answers."""
