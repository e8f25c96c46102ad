package verdict

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"sync/atomic"
)

// slots is a hash table of verdicts by the hash of their name: open addressing, half of it free at least. A look-up reads one
// line of memory where a Go map reads three or four, and in a server none of them is in the processor's cache.
//
// One goroutine at a time changes it. Others may search its table meanwhile: they find what is there, or for a moment not, or what
// belongs to another hash; so a reader looks at the verdict's name, and asks again under the lock before it believes in nothing.
type slots struct {
	table table
	used  int
}

// table is the slots; its length is a power of two.
type table []slot

type slot struct {
	hash    atomic.Uint64
	verdict atomic.Pointer[verdict] // nil: free
}

func (s *slot) set(hash uint64, v *verdict) {
	s.hash.Store(hash)
	s.verdict.Store(v)
}

// home is where the search for a hash begins. A shard's hashes are equal in their low bits.
func (t table) home(hash uint64) int { return int(hash>>32) & (len(t) - 1) }

// find is the slot of a hash, or the free one where it belongs, and what was there.
func (t table) find(hash uint64) (*slot, *verdict) {
	for i := t.home(hash); ; i = (i + 1) & (len(t) - 1) {
		at := &t[i]
		if v := at.verdict.Load(); v == nil || at.hash.Load() == hash {
			return at, v
		}
	}
}

// put sets the verdict of a hash.
func (s *slots) put(hash uint64, v *verdict) {
	at, old := s.table.find(hash)
	if old == nil {
		if s.used++; 2*s.used > len(s.table) {
			s.grow()
			at, _ = s.table.find(hash)
		}
	}
	at.set(hash, v)
}

func (s *slots) grow() {
	larger := make(table, 2*len(s.table))
	for i := range s.table {
		hash, v := s.table[i].hash.Load(), s.table[i].verdict.Load()
		if v != nil {
			at, _ := larger.find(hash)
			at.set(hash, v)
		}
	}
	s.table = larger
}

// remove frees the slot at i and moves up what was put behind it because of it.
func (s *slots) remove(i int) {
	mask := len(s.table) - 1
	for j := (i + 1) & mask; ; j = (j + 1) & mask {
		hash, v := s.table[j].hash.Load(), s.table[j].verdict.Load()
		if v == nil {
			break
		}
		if home := s.table.home(hash); (j-home)&mask >= (j-i)&mask { // a search from its home passes i
			s.table[i].set(hash, v)
			i = j
		}
	}
	s.table[i].set(0, nil)
	s.used--
}

// keep removes the verdicts for which keep is false.
func (s *slots) keep(keep func(*verdict) bool) {
	for i := 0; i < len(s.table); {
		if v := s.table[i].verdict.Load(); v != nil && !keep(v) {
			s.remove(i) // another may stand here now
		} else {
			i++
		}
	}
}

// evict removes, of a few that stand at a random place, the oldest that nobody asked for again: so names that are asked once, which
// are most of the names that a resolver sees, do not push out the others. Where each was asked for again the oldest goes, and the
// others have to be asked for once more to be spared the next time.
func (s *slots) evict() {
	var sample [evictSample]int
	seen := sample[:0]
	for i := rand.IntN(len(s.table)); len(seen) < min(evictSample, s.used); i = (i + 1) & (len(s.table) - 1) {
		if s.table[i].verdict.Load() != nil {
			seen = append(seen, i)
		}
	}
	if len(seen) == 0 {
		return
	}
	at := func(i int) *verdict { return s.table[i].verdict.Load() }
	victim := slices.MinFunc(seen, func(i, j int) int { return at(i).compare(at(j)) })
	if at(victim).used.Load() {
		for _, i := range seen {
			at(i).used.Store(false)
		}
	}
	s.remove(victim)
}

// compare orders verdicts by how little would be lost with them.
func (v *verdict) compare(other *verdict) int {
	if used := v.used.Load(); used != other.used.Load() {
		if used {
			return 1
		}
		return -1
	}
	return cmp.Compare(v.ends, other.ends)
}
