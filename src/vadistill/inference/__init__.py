"""Fast inference with a trained student: backends, export, video to score, benchmark."""
