"""The field's files of keypoints and pairs: one module a format, each with its reader and its writer."""
