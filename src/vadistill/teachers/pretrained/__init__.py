"""Pre-trained networks that teachers use."""
