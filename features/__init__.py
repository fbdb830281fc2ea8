"""Feature jobs: raw Parquet to the dataset artifact. Never imports torch."""
