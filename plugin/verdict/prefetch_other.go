//go:build !amd64 && !arm64

package verdict

func prefetch(uintptr) {}
