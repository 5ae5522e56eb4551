"""Where objects are: the detector, moving regions, and which boxes count."""
