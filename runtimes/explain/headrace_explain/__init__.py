"""Why a model says what it says of a row: how much of the answer is due to each of the values that went in.

Knows a model as a function of arrays, no format, no file and no protocol; NumPy alone. `explain.explain` is where it
begins, `choose.choose` says which method fits.
"""
