"""What the fault tests share: builds in forked processes that are killed, isolation, a cluster."""
