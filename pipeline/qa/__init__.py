"""Index and ask: a scene memory of what was said and shown, and answers that cite it.

`store` is the port to the memory and `sqlite` its adapter; `stage` fills it from `cleared`; `question`, `retrieve` and
`support` are the rules that turn a question into evidence; `answer` joins them.
"""
