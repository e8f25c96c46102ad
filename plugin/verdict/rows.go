package verdict

import (
	"iter"
	"net/netip"
)

// row is equal outcomes summed. A busy resolver has megabytes of them, so what every outcome touches is one line of the
// processor's cache, found by its hash without another line on the way; the rest is in its story. The runtime puts a word
// before a table, so a row is a word shorter than a line, and filled up.
type row struct {
	hash    uint32   // the lower half
	story   int32    // 1 + its place, 0 for a row that is free
	verdict *verdict // of the latest outcome
	key     rowKey
	first   int64  // Unix milliseconds
	span    uint32 // milliseconds from the first to the last
	count   uint32
	_       [8]byte
}

// story is what is told of a row beside.
type story struct {
	qname, rule, model, targetOf string
	latencySum, latencyMax       int64 // microseconds
	addresses                    []netip.Addr
	targets                      []string
	at                           uint32 // the place of its row
	misses                       uint32 // of the count: the verdict was not in the cache
	label                        label
	source                       source
}

// rows is a hash table of rows, open addressing, half of it free at least, and their stories in the order in which they began.
type rows struct {
	table   []row // its length is a power of two
	stories []story
}

const leastRows = 64 // a power of two

// all are the rows with their stories.
func (n *rows) all() iter.Seq2[*row, *story] {
	return func(yield func(*row, *story) bool) {
		for i := range n.stories {
			if s := &n.stories[i]; !yield(&n.table[s.at], s) {
				return
			}
		}
	}
}

// find is the place of the row of such outcomes, or of the free one where it belongs.
func (n *rows) find(hash uint32, qname string, key *rowKey, out *outcome) uint32 {
	last := uint32(len(n.table) - 1)
	for at := hash & last; ; at = (at + 1) & last {
		r := &n.table[at]
		if r.story == 0 || r.hash == hash && r.key == *key && n.same(r, qname, out) {
			return at
		}
	}
}

// same tells whether an outcome of a row's key belongs to the row. The verdict being the same one, nothing that follows from it
// needs to be compared.
func (n *rows) same(r *row, qname string, out *outcome) bool {
	v := out.verdict
	if r.key.flags&flagPlain != 0 && r.verdict == v {
		return true
	}
	s := &n.stories[r.story-1]
	return s.qname == qname && s.rule == out.because() && s.model == v.model && s.targetOf == out.targetOf &&
		s.label == v.label && s.source == v.source
}

// begin makes the free row at a place one of such outcomes, with the contents of the first reply. It takes the slices of the
// story that stood there a second ago, to allocate nothing.
//
//go:noinline
func (n *rows) begin(at uint32, hash uint32, qname string, key *rowKey, out *outcome, now int64, found *contents) *row {
	last := len(n.stories)
	if last < cap(n.stories) {
		n.stories = n.stories[:last+1]
	} else {
		n.stories = append(n.stories, story{})
	}
	s, v := &n.stories[last], out.verdict
	n.table[at] = row{hash: hash, story: int32(last + 1), verdict: v, key: *key, first: now}
	*s = story{
		qname: qname, rule: out.because(), model: v.model, targetOf: out.targetOf, label: v.label, source: v.source, at: at,
		addresses: s.addresses[:0], targets: s.targets[:0],
	}
	if found != nil {
		s.addresses = found.appendAddresses(s.addresses)
		for i := range min(len(found.targets), maxTargets) {
			s.targets = append(s.targets, found.targets[i].name)
		}
	}
	if 2*len(n.stories) > len(n.table) {
		n.grow()
	}
	return &n.table[s.at]
}

// sum adds an outcome to its row.
func (n *rows) sum(r *row, out *outcome, now int64) {
	if r.verdict != out.verdict {
		r.verdict = out.verdict
	}
	if now < r.first { // an earlier query that waited
		r.span += uint32(r.first - now)
		r.first = now
	}
	r.span = max(r.span, uint32(now-r.first))
	if out.targetOf != "" {
		return
	}
	r.count++
	if out.missed || out.latency > 0 {
		s := &n.stories[r.story-1]
		if out.missed {
			s.misses++
		}
		s.latencySum += out.latency
		s.latencyMax = max(s.latencyMax, out.latency)
	}
}

// grow doubles the table.
func (n *rows) grow() {
	old, last := n.table, uint32(2*len(n.table)-1)
	n.table = make([]row, 2*len(old))
	for i := range n.stories {
		s := &n.stories[i]
		at := old[s.at].hash & last
		for n.table[at].story != 0 {
			at = (at + 1) & last
		}
		n.table[at], s.at = old[s.at], at
	}
}

// emptied are these rows for the next second, or, after a flood, none, so that the memory goes back.
func (n *rows) emptied() rows {
	if cap(n.stories) > 4*len(n.stories)+64 {
		return rows{}
	}
	clear(n.table)
	return rows{n.table, n.stories[:0]}
}

func (r *row) last() int64 { return r.first + int64(r.span) }
