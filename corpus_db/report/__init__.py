"""The corpus report: what a version holds, or how two differ, as one HTML page. It counts and decides nothing."""
