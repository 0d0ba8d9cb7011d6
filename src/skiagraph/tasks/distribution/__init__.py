"""The command `evaluate distribution`: a set of generated images against the images that the model learned from."""
