"""What answers and texts are scored by; no model."""
