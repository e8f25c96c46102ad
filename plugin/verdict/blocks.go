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
	at, _ := b.started.Get().(*block[T])
	value := nextOf(&at)
	if at != nil {
		b.started.Put(at)
	}
	return value
}

// nextOf is a zero value that nobody has, of a block that has begun or of a new one. One that is used up is let go.
func nextOf[T any](begun **block[T]) *T {
	at := *begun
	if at == nil {
		at = new(block[T])
		*begun = at
	}
	value := &at.values[at.used]
	if at.used++; at.used == blockSize {
		*begun = nil
	}
	return value
}
