"""The report: compute once into a frozen record, write it as JSON, render it as text, page and plots.

`run` computes and calls everything else; `record` is what is kept; `view` turns the record into sections, and
`markdown`, `html`, `plots` and `summary` only draw them. A renderer never computes a result.
"""
