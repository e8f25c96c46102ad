package verdict

import (
	"cmp"
	"math/rand/v2"
	"slices"
)

// slots is a hash table of verdicts by the hash of their name: open addressing, half of it free at least. A look-up reads one
// line of memory where a Go map reads three or four, and in a server none of them is in the processor's cache.
type slots struct {
	table []slot // its length is a power of two
	used  int
}

type slot struct {
	hash    uint64
	verdict *verdict // nil: free
}

// home is where the search for a hash begins. A shard's hashes are equal in their low bits.
func (s *slots) home(hash uint64) int { return int(hash>>32) & (len(s.table) - 1) }

// find is the slot of a hash, or the free one where it belongs.
func (s *slots) find(hash uint64) *slot {
	for i := s.home(hash); ; i = (i + 1) & (len(s.table) - 1) {
		if at := &s.table[i]; at.verdict == nil || at.hash == hash {
			return at
		}
	}
}

// put sets the verdict of a hash.
func (s *slots) put(hash uint64, v *verdict) {
	at := s.find(hash)
	if at.verdict == nil {
		if s.used++; 2*s.used > len(s.table) {
			s.grow()
			at = s.find(hash)
		}
	}
	*at = slot{hash, v}
}

func (s *slots) grow() {
	old := s.table
	s.table = make([]slot, 2*len(old))
	for _, each := range old {
		if each.verdict != nil {
			*s.find(each.hash) = each
		}
	}
}

// remove frees the slot at i and moves up what was put behind it because of it.
func (s *slots) remove(i int) {
	mask := len(s.table) - 1
	for j := (i + 1) & mask; s.table[j].verdict != nil; j = (j + 1) & mask {
		if home := s.home(s.table[j].hash); (j-home)&mask >= (j-i)&mask { // a search from its home passes i
			s.table[i] = s.table[j]
			i = j
		}
	}
	s.table[i] = slot{}
	s.used--
}

// keep removes the verdicts for which keep is false.
func (s *slots) keep(keep func(*verdict) bool) {
	for i := 0; i < len(s.table); {
		if v := s.table[i].verdict; v != nil && !keep(v) {
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
		if s.table[i].verdict != nil {
			seen = append(seen, i)
		}
	}
	if len(seen) == 0 {
		return
	}
	victim := slices.MinFunc(seen, func(i, j int) int { return s.table[i].verdict.compare(s.table[j].verdict) })
	if s.table[victim].verdict.used.Load() {
		for _, i := range seen {
			s.table[i].verdict.used.Store(false)
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
