"""What every pod of Headrace's knows, and the operator with them: each of it is written here once.

Formats and manifests of models, rules for paths, the way to S3, the record that a container leaves, what the kernel
says of a container, the names of tags. The standard library is enough: boto3 is imported by `s3.client` alone, when it
is called.
"""

__version__ = "0.1.0"
