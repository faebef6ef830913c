"""Answers as DataFrames, from NumPy and pandas; without torch and without figures.

Public names are in `frviz` itself: `frviz.confusion`, `frviz.ambiguous_groups`, ...
"""
