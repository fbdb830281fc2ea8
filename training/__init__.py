"""Training: dataset artifact to evaluated, registered bundle."""
