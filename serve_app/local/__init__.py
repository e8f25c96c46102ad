"""`verdict up`: CoreDNS, the cluster and the dashboard on this machine, on loopback, from one command."""
