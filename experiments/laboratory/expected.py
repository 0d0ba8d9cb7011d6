"""The published yardsticks of the laboratory: shares in percent, -log density in nats, None where not stated."""

from __future__ import annotations

__all__ = [
    "BASELINES",
    "COARSE",
    "DEFAULT",
    "DEFAULT_NOTES",
    "ENTROPY_KEPT",
    "ENTROPY_SCAN",
    "NOTES",
    "PARTIAL",
    "REFERENCE",
    "ROUND_TRIPS",
    "Triple",
]

Triple = tuple[float | None, float | None, float | None]
"""(hard %, kept %, negative log-density)."""

BASELINES: dict[str, Triple] = {
    "real": (0.4, 99.9, -0.70),
    "unguided": (0.3, 99.9, -0.76),
    "s = 10": (0.0, 100, 2.29),
}

REFERENCE: dict[tuple[str, float], tuple[Triple, Triple, Triple]] = {
    ("entropy", 2): ((3.0, 100, -0.04), (0, 100, 0.68), (2.6, 100, -0.01)),
    ("entropy", 5): ((98.6, 100, 3.25), (15.3, 100, -0.04), (98.4, 100, 3.25)),
    ("entropy", 10): ((100, 100, 3.41), (99.6, 100, 3.39), (100, 100, 3.43)),
    ("entropy", 30): ((55.3, 56.7, 3.33), (50.9, 66.4, 2.96), (55.5, 59.1, 3.25)),
    ("margin", 2): ((63.2, 96.8, 2.32), (0, 100, 0.12), (61.4, 97.5, 2.29)),
    ("least_confidence", 4): ((63.2, 96.8, 2.32), (0, 100, 0.12), (61.4, 97.5, 2.29)),
    ("margin", 5): ((28.2, 90.5, 1.65), (24.6, 91.8, 1.39), (28.7, 90.6, 1.68)),
    ("least_confidence", 10): ((28.2, 90.5, 1.65), (24.6, 91.8, 1.39), (28.7, 90.6, 1.68)),
    ("log_odds_abs", 1): ((100, 93.4, 3.22), (98.3, 91.2, 3.15), (100, 93.8, 3.22)),
    ("log_odds_target", 0.5): ((5.2, 100, 1.23), (0, 100, -0.92), (4.8, 100, 1.25)),
    ("log_odds_target", 1): ((100, 100, 3.01), (94.0, 100, 2.87), (100, 100, 3.06)),
    ("log_odds_target", 2): ((100, 100, 3.14), (100, 100, 3.12), (100, 100, 3.18)),
}
"""Table 9.1, (measure, gamma): from unguided, from s = 10, from real points."""

ENTROPY_SCAN = {1: 0.001, 2: 0.031, 3: 0.493, 4: 0.628, 5: 0.666, 7: 0.682, 10: 0.688, 15: 0.691, 20: 0.691, 30: 0.386}
"""gamma: mean entropy from unguided points, nats."""

ENTROPY_KEPT = {1: 100, 2: 100, 3: 100, 4: 100, 5: 100, 7: 100, 10: 100, 15: 100, 20: 96.2, 30: 58.6}
"""gamma: kept %; the text states the kept shares of this scan, the table those of its own run (56.7 % at 30)."""

NOTES: dict[str, Triple] = {
    "wrong time, entropy 5": (0.5, 100, None),
    "wrong time, entropy 30": (67.5, 64.8, None),
    "wrong time, log_odds_target 2": (1.6, 100, None),
    "one stage, entropy 5": (98.1, 100, 3.25),
    "one stage, entropy 5, off below sigma^2 = 0.02": (0, 100, 0.54),
    "one stage, entropy 5, off below sigma^2 = 0.05": (0, 100, -0.49),
    "one stage, entropy 5, every 2nd level, times 2": (97.7, 100, None),
    "one stage, entropy 5, every 5th level, times 5": (86.2, 60.8, None),
    "one stage, entropy 5, every 10th level, times 10": (73.4, 57.7, None),
}
"""The list below table 9.1."""

COARSE: dict[tuple[int, str, float], tuple[Triple, Triple]] = {
    (25, "entropy", 5): ((10.1, 88.0, None), (39.5, 99.8, None)),
    (50, "entropy", 5): ((38.9, 80.0, None), (81.7, 99.7, None)),
    (100, "entropy", 5): ((96.0, 99.3, None), (86.3, 99.9, None)),
    (250, "entropy", 5): ((98.1, 100, None), (85.6, 100, None)),
    (25, "log_odds_target", 2): ((0.2, 0.6, None), (41.1, 100, None)),
    (50, "log_odds_target", 2): ((2.1, 3.8, None), (76.4, 100, None)),
    (100, "log_odds_target", 2): ((81.4, 98.3, None), (81.7, 100, None)),
    (250, "log_odds_target", 2): ((100, 100, None), (84.1, 100, None)),
}
"""Table 9.2, (levels, measure, gamma): without a trust region, with R = 1; one stage from noise."""

DEFAULT: dict[float, tuple[int, tuple[Triple, Triple, Triple], float, float]] = {
    1.0: (98, ((100, 100, 3.15), (100, 100, 3.17), (99.8, 100, 3.13)), 0.269, 0.015),
    0.8: (60, ((100, 100, 3.15), (100, 100, 3.17), (99.5, 100, 3.13)), 0.267, 0.015),
    0.5: (48, ((99.9, 100, 3.15), (100, 100, 3.18), (88.8, 100, 2.90)), 0.265, 0.014),
}
"""Table 9.3, depth: network calls; from real, unguided, s = 10; move and round trip of real points."""

DEFAULT_NOTES: dict[str, Triple] = {
    "entropy 5, all levels, unguided": (99.2, 100, None),
    "entropy 5, all levels, s = 10": (15.2, 100, None),
    "25 points, no R, unguided": (58, 100, None),
    "25 points, R = 1, unguided": (91, 100, None),
    "full depth, guided below sigma^2 = 0.5, unguided": (100, 100, None),
    "full depth, guided below sigma^2 = 0.5, s = 10": (88.9, 100, None),
    "250 uniform, log_odds_target 2 below sigma^2 = 0.5, unguided": (100, None, None),
    "250 uniform, log_odds_target 2 below sigma^2 = 0.1, unguided": (99.9, None, None),
    "250 uniform, entropy 5 below sigma^2 = 0.5, unguided": (95.7, None, None),
    "250 uniform, entropy 5 below sigma^2 = 0.1, unguided": (59.4, None, None),
    "snapped, reference inversion, R = 1.5, unguided": (100, 100, None),
    "snapped, reference inversion, R = 1.5, s = 10": (99.8, 100, None),
    "snapped, reference inversion, no R, unguided": (99.0, None, None),
    "snapped, reference inversion, no R, s = 10": (99.1, None, None),
    "25 uniform, R = 1.5, log_odds_target 2, unguided": (None, 28, None),
    "50 uniform, R = 1.5, log_odds_target 2, unguided": (None, 78, None),
    "250 uniform, R = 1, log_odds_target 2, s = 10": (2, None, None),
    "250 uniform, R = 1.5, log_odds_target 2, s = 10": (99.7, None, None),
}
"""The lists below tables 9.2 and 9.3."""

PARTIAL: dict[tuple[str, str, float], Triple] = {
    ("unguided", "entropy", 5): (94.8, 100, None),
    ("unguided", "log_odds_target", 1): (99.9, 100, None),
    ("unguided", "log_odds_target", 2): (100, 100, None),
    ("s = 10", "log_odds_target", 2): (100, 100, None),
    ("s = 10", "log_odds_target", 1): (74.9, 100, None),
}
"""Section 5: the first 62 of 250 uniform levels, mirrored; (source, measure, gamma)."""

ROUND_TRIPS: dict[str, dict[int, float]] = {
    "reference": {25: 0.049, 50: 0.032, 100: 0.019, 250: 0.0089},
    "mirrored": {25: 0.049, 50: 0.032, 100: 0.019, 250: 0.0083},
    "heun": {25: 0.0075, 50: 0.0012, 100: 2.3e-4, 250: 2e-5},
}
"""Section 5: root mean square error of encoding and decoding, by mode and uniform levels."""
