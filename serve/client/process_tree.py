"""A process with all its descendants, as the kernel sees them."""

import psutil

__all__ = ["process_tree", "tree_memory_bytes"]


def process_tree(pid: int) -> list[psutil.Process]:
    """The process and its descendants; empty once it is gone."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def tree_memory_bytes(pid: int) -> int:
    """Resident memory of a process and all its descendants; pages that they share count in each.

    Raises:
        psutil.NoSuchProcess: The process is gone.
    """
    total = 0
    root = psutil.Process(pid)
    for process in (root, *root.children(recursive=True)):
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total
