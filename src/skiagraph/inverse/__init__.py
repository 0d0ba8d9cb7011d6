"""Learn and infer from measurements: objectives, the measurement-score rules, and posterior methods for any prior."""
