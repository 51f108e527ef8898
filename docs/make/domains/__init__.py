"""Texts of many kinds, halves for calibration and for evaluation."""
