"""Measurement-score diffusion with an ordinary U-Net: train on masked measurements, generate, restore."""
