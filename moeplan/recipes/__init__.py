"""Recipes: files that deploy a configuration, the checks they pass, and what differs between two.

`writing` builds the files of a recipe, `directory` puts them on disk and reads them back, `reading`
reads them into typed documents (`parsed`), `checks` judges these, and `diff` compares two recipes.
"""
