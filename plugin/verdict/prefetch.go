//go:build amd64 || arm64

package verdict

// prefetch has the processor fetch the line of memory at an address while the query goes on. It is a hint that changes nothing, and
// is never a fault, whatever the address. In a server the lines of a name's slot and row lie in no cache of the processor, so that
// waiting for them is most of what a known name costs.
//
//go:noescape
func prefetch(at uintptr)
