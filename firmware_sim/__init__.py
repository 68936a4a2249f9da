"""Simulated vehicles and plants with ground truth."""
