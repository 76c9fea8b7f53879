"""The model that a run trains: made, frozen in parts, adapted, and written as users load it."""
