"""Joints of every image: the detector's rows, in parts or on a cluster, or other programs' annotations."""
