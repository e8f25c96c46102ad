package verdict

import (
	"encoding/binary"
	"math/bits"
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
	plain    bool   // action and rule are the verdict's own, and it is a verdict on this very name
	targetOf string // set for an alias target: the qname whose reply held it
	parent   uint64 // likewise: the hash of that qname
}

// rowKey is what tells rows of one verdict apart.
type rowKey struct {
	client   netip.Addr
	qtype    uint16
	rcode    int16
	action   action
	reason   reason
	enforced bool
	plain    bool
}

// rowHash mixes what tells rows of one name apart into the name's hash, which an outsider cannot foresee. Rule and model
// are left out: they seldom differ where the rest is equal.
func rowHash(name uint64, qtype uint16, client netip.Addr, out *outcome) uint64 {
	address := client.As16()
	var enforced uint64
	if out.enforced {
		enforced = 1
	}
	v := out.verdict
	small := uint64(qtype)<<48 | uint64(uint16(out.rcode))<<32 | uint64(v.label)<<25 | uint64(out.action)<<17 |
		uint64(v.source)<<9 | uint64(out.reason)<<1 | enforced
	h := mix(name^small, binary.LittleEndian.Uint64(address[8:])^0x9e3779b97f4a7c15)
	return mix(h^out.parent, binary.LittleEndian.Uint64(address[:8])^0xbf58476d1ce4e5b9)
}

func mix(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high ^ low
}

// row is equal outcomes summed. A busy resolver has megabytes of them, so what every outcome touches is together in one
// line of the processor's cache, and the row fills whole lines.
type row struct {
	hash    uint64
	verdict *verdict // of the latest outcome
	key     rowKey
	count   uint32
	span    uint32 // milliseconds from the first to the last
	first   int64  // Unix milliseconds

	qname, rule, model, targetOf string
	latencySum, latencyMax       int64 // microseconds
	addresses                    []netip.Addr
	targets                      []string
	label                        label
	source                       source
	_                            [62]byte
}

// is tells whether an outcome belongs to the row. The verdict being the same one, nothing that follows from it needs to
// be compared.
func (r *row) is(hash uint64, qname string, key *rowKey, out *outcome) bool {
	if r.hash != hash || r.key != *key {
		return false
	}
	v := out.verdict
	return key.plain && r.verdict == v || r.qname == qname && r.rule == out.rule && r.model == v.model &&
		r.targetOf == out.targetOf && r.label == v.label && r.source == v.source
}

func (r *row) last() int64 { return r.first + int64(r.span) }

// observations sums outcomes until they are cut. Memory is bounded: an outcome that would need one row too many is
// counted as discarded.
type observations struct {
	shards    [observationShards]observationShard
	perShard  int
	spare     []row         // the buffer of the shard that was cut last, for the next one
	discarded atomic.Uint64 // outcomes since the start that were not kept
}

// observationShard sums the outcomes whose hash falls to it.
type observationShard struct {
	sync.Mutex
	slots     []int32 // by hash, open addressing: 1 + the place of a row, 0 for none; at least twice as many as rows
	rows      []row
	discarded uint64
	_         [64]byte
}

const leastSlots = 64 // a power of two

func newObservations(rows int) *observations {
	o := &observations{perShard: max(1, rows/observationShards)}
	for i := range o.shards {
		o.shards[i].slots = make([]int32, leastSlots)
	}
	return o
}

// note adds one outcome; now is in Unix milliseconds, hash the cache's hash of the name.
func (o *observations) note(hash uint64, qname string, qtype uint16, client netip.Addr, out *outcome, now int64, found *contents) {
	hash = rowHash(hash, qtype, client, out)
	key := rowKey{
		client: client, qtype: qtype, rcode: int16(out.rcode), action: out.action, reason: out.reason, enforced: out.enforced,
		plain: out.plain,
	}
	s := &o.shards[hash>>32%observationShards]
	s.Lock()
	defer s.Unlock()
	i := hash
	for {
		slot := s.slots[i&uint64(len(s.slots)-1)]
		if slot == 0 {
			break
		}
		if r := &s.rows[slot-1]; r.is(hash, qname, &key, out) {
			r.sum(out, now)
			return
		}
		i++
	}
	if len(s.rows) >= o.perShard {
		if out.targetOf == "" { // an alias target counts no query
			s.discarded++
			o.discarded.Add(1)
		}
		return
	}
	r := s.add(hash, qname, &key, out, now)
	r.keep(found)
	r.sum(out, now)
	s.slots[i&uint64(len(s.slots)-1)] = int32(len(s.rows))
	if 2*len(s.rows) > len(s.slots) {
		s.grow()
	}
}

// add makes a row; it takes the slices of the row that stood there a second ago, to allocate nothing.
//
//go:noinline
func (s *observationShard) add(hash uint64, qname string, key *rowKey, out *outcome, now int64) *row {
	i := len(s.rows)
	if i < cap(s.rows) {
		s.rows = s.rows[:i+1]
	} else {
		s.rows = append(s.rows, row{})
	}
	r, v := &s.rows[i], out.verdict
	*r = row{
		hash: hash, verdict: v, key: *key, first: now, qname: qname, rule: out.rule, model: v.model, targetOf: out.targetOf,
		label: v.label, source: v.source, addresses: r.addresses[:0], targets: r.targets[:0],
	}
	return r
}

// grow doubles the slots, so that at least half of them are free.
func (s *observationShard) grow() {
	s.slots = make([]int32, 2*len(s.slots))
	for row := range s.rows {
		i := s.rows[row].hash
		for s.slots[i&uint64(len(s.slots)-1)] != 0 {
			i++
		}
		s.slots[i&uint64(len(s.slots)-1)] = int32(row + 1)
	}
}

func (r *row) sum(out *outcome, now int64) {
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
	if out.latency > 0 {
		r.latencySum += out.latency
		r.latencyMax = max(r.latencyMax, out.latency)
	}
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
// the outcomes that shard discarded. Each shard is cut atomically, so counts and discards always add up. One cut at a time.
func (o *observations) cut(each func(rows []row, discarded uint64)) {
	for i := range o.shards {
		s := &o.shards[i]
		s.Lock()
		rows, discarded := s.rows, s.discarded
		s.rows, o.spare, s.discarded = o.spare, nil, 0
		if len(s.slots) > leastSlots && 16*len(rows) < len(s.slots) { // after a flood the memory goes back
			s.slots = make([]int32, len(s.slots)/2)
		} else {
			clear(s.slots)
		}
		s.Unlock()
		each(rows, discarded)
		if cap(rows) <= 4*len(rows)+64 { // likewise
			o.spare = rows[:0]
		}
	}
}
