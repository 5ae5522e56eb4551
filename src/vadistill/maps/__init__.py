"""From object scores to anomaly maps: calibration and rasterization."""
