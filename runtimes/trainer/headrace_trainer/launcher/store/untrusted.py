"""A certificate that is not trusted is the same one the next time: how the libraries tell it, and what to do."""

from __future__ import annotations

import re

_KNOWN = re.compile(r"CERTIFICATE_VERIFY_FAILED|invalid peer certificate|InvalidCertificate\(")


def is_untrusted(error: BaseException) -> bool:
    """By the words of OpenSSL (botocore, urllib), and of rustls (obstore), whose errors have no type for it."""
    return _KNOWN.search(str(error)) is not None


def hint(variable: str) -> str:
    """`variable` is where the library finds the CAs that it trusts."""
    return (
        f"The image does not know the CA of this server, or of a proxy before it: set {variable} in podTemplate to a "
        "file with that CA's certificate (docs/how-to/packages.md). A certificate that has expired, or is another "
        "host's, is the server's to renew."
    )
