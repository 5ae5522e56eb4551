"""Which clips a data set has, their labels and masks, and the clips that are generated."""
