"""Ask: from a question to evidence, and from evidence to an answer that cites it.

`answer` is the port. `question` and `when` read a question; `retrieve`, `support` and `premise` are the rules that judge evidence, and
`evidence` joins them. `extractive` answers by quoting, `composed` lets a model (`teller`) write and tells what `checking` finds supported;
`screened` stands around both. `standing` and `watching` are questions about what is still to come.
"""
