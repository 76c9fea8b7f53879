"""HTML pages that need no other file: scores, benchmarks, and models side by side."""
