"""How many files a process may have open: at first 1,024 on most systems, and more where it asks."""

import resource

WHERE = "ulimit -Hn, the LimitNOFILE of a service, the --ulimit of a container"  # where the hard limit is set


def let_open(wanted: int) -> int:
    """Let this process and what it starts have this many files open; how many of them they may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most
