"""Synthetic anomalies in normal clips: what, where, along which way, cut out of what."""
