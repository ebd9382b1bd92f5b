"""What the quickstart's cluster and namespaces are called. Nothing here needs a package."""

DEFAULT_INSTANCE = "quickstart"
SYSTEM = "headrace-system"
TENANT = "demo"


def kind_cluster_name(name: str) -> str:
    """kind's cluster of a quickstart's name."""
    return f"headrace-{name}"


def down_command(name: str) -> str:
    """What takes the cluster of this name away."""
    return "scripts/quickstart --down" + ("" if name == DEFAULT_INSTANCE else f" --name {name}")
