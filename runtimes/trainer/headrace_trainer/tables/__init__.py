"""What a job declares of its tables, done: read, schema, split, privacy, balance, write, in this order (`run`).

A process of its own, which the launcher starts before the script (launcher/tables.py). It uses pandas, pandera, PyArrow
and others of the image. A table is one of Arrow's in memory; each module takes one, and gives one.
No text of a library's error leaves it: it may have a value of a private column.
"""
