package verdict

import (
	"net/netip"
	"sync"
	"sync/atomic"
)

const (
	observationShards = 32
	maxAddresses      = 16
	maxTargets        = 8
)

// outcome is what became of one query, as the record of it says.
type outcome struct {
	verdict  *verdict
	action   action // of the verdict that decided: its own, or an alias target's
	rule     string // likewise
	enforced bool
	reason   reason
	rcode    int // of the reply the client got, -1 when none was sent
	latency  int64
	targetOf string // set for an alias target: the qname whose reply held it
}

// rowKey is what equal outcomes are equal in.
type rowKey struct {
	qname, rule, model, targetOf string
	client                       netip.Addr
	rcode                        int16
	qtype                        uint16
	label                        label
	action                       action
	source                       source
	reason                       reason
	enforced                     bool
}

// row is equal outcomes summed.
type row struct {
	key                    rowKey
	tier                   tier
	count                  uint32
	first, last            int64 // Unix milliseconds
	latencySum, latencyMax int64 // microseconds
	score, generated       float64
	addresses              []netip.Addr
	targets                []string
}

// observations sums outcomes until they are cut. Memory is bounded: an outcome that would need one row too many is
// counted as discarded.
type observations struct {
	shards    [observationShards]observationShard
	perShard  int
	discarded atomic.Uint64 // outcomes since the start that were not kept
}

type observationShard struct {
	sync.Mutex
	index     map[rowKey]int32
	rows      []row
	spare     []row // the buffers of the cut before, used again
	discarded uint64
	_         [64]byte
}

func newObservations(rows int) *observations {
	o := &observations{perShard: max(1, rows/observationShards)}
	for i := range o.shards {
		o.shards[i].index = make(map[rowKey]int32)
	}
	return o
}

// note adds one outcome; now is in Unix milliseconds, hash the cache's hash of the name.
func (o *observations) note(hash uint64, qname string, qtype uint16, client netip.Addr, out *outcome, now int64, found *contents) {
	v := out.verdict
	key := rowKey{
		qname: qname, rule: out.rule, model: v.model, targetOf: out.targetOf, client: client, rcode: int16(out.rcode),
		qtype: qtype, label: v.label, action: out.action, source: v.source, reason: out.reason, enforced: out.enforced,
	}
	s := &o.shards[(hash>>32)%observationShards]
	s.Lock()
	defer s.Unlock()
	i, ok := s.index[key]
	if !ok {
		if len(s.rows) >= o.perShard {
			if out.targetOf == "" { // an alias target counts no query
				s.discarded++
				o.discarded.Add(1)
			}
			return
		}
		i = s.add(key, now)
		s.rows[i].keep(found)
	}
	s.rows[i].sum(out, now)
}

// add makes a row; it takes the slices of the row that stood there a second ago, to allocate nothing.
func (s *observationShard) add(key rowKey, now int64) int32 {
	i := len(s.rows)
	if i < cap(s.rows) {
		s.rows = s.rows[:i+1]
	} else {
		s.rows = append(s.rows, row{})
	}
	old := &s.rows[i]
	*old = row{key: key, first: now, addresses: old.addresses[:0], targets: old.targets[:0]}
	s.index[key] = int32(i)
	return int32(i)
}

func (r *row) sum(out *outcome, now int64) {
	r.last = max(r.last, now)
	r.tier, r.score, r.generated = out.verdict.tier, out.verdict.score, out.verdict.generated
	if out.targetOf != "" {
		return
	}
	r.count++
	r.latencySum += out.latency
	r.latencyMax = max(r.latencyMax, out.latency)
}

// keep notes the contents of the first reply of this row.
func (r *row) keep(found *contents) {
	if found == nil {
		return
	}
	r.addresses = append(r.addresses, found.addresses...)
	for i := range found.targets {
		r.targets = append(r.targets, found.targets[i].name)
	}
}

// cut takes what has been noted: it calls each with the rows of one shard, which it may read until it returns, and
// the outcomes that shard discarded. Each shard is cut atomically, so counts and discards always add up.
func (o *observations) cut(each func(rows []row, discarded uint64)) {
	for i := range o.shards {
		s := &o.shards[i]
		s.Lock()
		rows, discarded := s.rows, s.discarded
		s.rows, s.spare, s.discarded = s.spare[:0], nil, 0
		clear(s.index)
		s.Unlock()
		each(rows, discarded)
		s.Lock()
		if cap(rows) <= 4*len(rows)+64 { // after a flood the memory goes back
			s.spare = rows[:0]
		}
		s.Unlock()
	}
}
