"""Recipes from the configurations of the releases."""
