//go:build unix

package main

import "syscall"

const reloadSignal = syscall.SIGUSR1
