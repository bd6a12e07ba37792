"""Ends recorders and exporters at random under two Prometheis, and compares what these know with what happened."""
