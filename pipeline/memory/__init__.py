"""The scene memory: what was said and shown, kept beyond the process, found by words, by meaning and by time.

`store` is the port; `sqlite` and `postgres` are the memory in either database, `sql` what both have in common. `stage` fills it
from `cleared`, `summarise` makes summaries of what is there, and `retention` lets go of what is too old.
"""
