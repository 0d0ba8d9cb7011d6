"""The task `synthesize`: labelled images that make a classifier better, each with its own record."""
