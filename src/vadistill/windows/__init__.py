"""What a frame-level detector sees of clips: windows of frames."""
