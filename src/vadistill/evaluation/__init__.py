"""What detectors are worth: metrics, protocols, baselines, tables."""
