"""Feature jobs: raw tables to the dataset artifact. Never imports torch."""
