"""Clips, frames, detections, objects, maps, scores and labels: the only code that knows file formats."""
