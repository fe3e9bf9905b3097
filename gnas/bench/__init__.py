"""Experiments that measure predictors and searches on benchmark tables."""
