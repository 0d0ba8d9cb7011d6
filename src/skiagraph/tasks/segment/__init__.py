"""Masks of lesions from yes/no labels: conditional differences of a labelled prior, and what makes masks of them."""
