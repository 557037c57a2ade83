"""Where raw images come from: the original's mirrors, archives, folders of photos, drawings."""
