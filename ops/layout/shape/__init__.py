"""The `shape.toml` of a shop with another layout, found in its table or checked against it.

holders.py    the keys by which a table can be read: its own and those of its indexes
subjects.py   the sampled sessions and their values
templates.py  which texts of a key are made from which values
search.py     the keys that lead from sessions to items, by what the table shows
words.py      which values of a status attribute are done, and which open
index.py      an attribute that needs an index, and the command that adds it
file.py       the text of the file
verify.py     the file, checked as a deployment does and tried with the functions' lookup
proposal.py   all of this in its order
"""
