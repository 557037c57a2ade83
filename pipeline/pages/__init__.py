"""Pages for people: the report, the inspection of keypoints, the comparison of two evaluations."""
