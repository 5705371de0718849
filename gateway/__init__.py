"""Tidegate's gateway: the data plane in front of model pods."""
