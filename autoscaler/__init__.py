"""Tidegate's autoscaler: it decides how many pods there should be, and makes it so."""
