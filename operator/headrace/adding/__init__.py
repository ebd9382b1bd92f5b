"""`headrace model add`: a model that nobody here has trained becomes a version.

given.py    what lies at a path: its format, its files, what is wrong with it
others.py   what is said of files of other libraries
bucket.py   the tenant's bucket, for as long as it takes to hand the files over
there.py    what lies in the bucket already, and whether it is a file of this machine
keys.py     what the tenant's Secret has for that
registered.py  a version in MLflow: which of its files is the model, and where they lie
request.py  the TrainingJob that asks for the version (pure)
program.txt what that job runs: in its pod, not here
add.py      the way from one to the other, and the wait
"""
