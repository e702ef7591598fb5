"""What all tests share.

Hypothesis draws the same cases in every run, so that a check is green or red for the code and not
for the draw. `pytest --hypothesis-profile=default` draws new ones.
"""

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")
