"""Measures the operators beside other ways to compute the same: `python -m arseg_ext.profiler --help`."""
