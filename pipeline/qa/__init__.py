"""Answers from the scene memory (`pipeline.memory`), with citations.

`question`, `retrieve` and `support` are the rules that turn a question into evidence; `answer` joins them.
"""
