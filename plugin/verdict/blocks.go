package verdict

import "sync"

// blockSize is how many values one allocation of blocks holds.
const blockSize = 32

// blocks hands out values that other plugins may hold on to after they have returned: *cache* keeps writer and context
// for a refresh, *log* a reply. Such a value never comes back, so it cannot be pooled; but one allocation does for many.
type blocks[T any] struct{ started sync.Pool }

type block[T any] struct {
	used   int
	values [blockSize]T
}

// next is a zero value that nobody has.
func (b *blocks[T]) next() *T {
	at, ok := b.started.Get().(*block[T])
	if !ok {
		at = new(block[T])
	}
	value := &at.values[at.used]
	if at.used++; at.used < blockSize {
		b.started.Put(at)
	}
	return value
}
