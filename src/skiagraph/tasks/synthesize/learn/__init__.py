"""Training what synthesis needs: a class-conditional prior, noisy classifiers, classifiers of clean images."""
