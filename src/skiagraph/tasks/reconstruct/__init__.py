"""Learn a prior from undersampled k-space and reconstruct with error bars."""
