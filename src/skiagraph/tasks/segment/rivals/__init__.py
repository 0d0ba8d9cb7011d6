"""Other ways from images with a yes/no label to maps of lesions, behind one call."""
