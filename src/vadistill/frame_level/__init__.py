"""The frame-level detectors: from windows of frames to frame scores and anomaly maps."""
