"""The self-distilled masked auto-encoder (SDMAE, arXiv 2306.12041): network, losses, pasted anomalies, training."""
