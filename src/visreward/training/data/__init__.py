"""From data sets to batches: rows, their images, and what frozen parts say of them."""
