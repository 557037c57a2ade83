"""What several tests share, and scripts that take too long for a test."""
