"""Boxes, and statistics by place in the scene."""
