"""What every training shares: epochs, checkpoints, meters, the device."""
