"""Recipes: one YAML file a published or shipped run. `frcore.load_recipe(name)` reads them."""
