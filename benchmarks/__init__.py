"""Measurements that back the figures in the documentation; nothing here is installed."""
