"""People compare and score images without knowing what made them; their answers are kept."""
