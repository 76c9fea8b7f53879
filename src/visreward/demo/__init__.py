"""A page in the browser that shows what reward models say."""
