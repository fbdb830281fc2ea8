"""A retrieval engine for recommendations: one two-tower model from event log to served answers."""

__version__ = "0.1.0"
