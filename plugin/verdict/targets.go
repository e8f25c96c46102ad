package verdict

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// judgement is a verdict on a name, or the flight that will bring it, or the reason why there is none.
type judgement struct {
	name    string
	hash    uint64
	verdict *verdict
	flight  *flight
	reason  reason
	missed  bool // the cache had none
}

// contents is what a reply holds that is recorded or judged.
type contents struct {
	reply     *dns.Msg     // its addresses are read where a row begins, which most queries do not
	addresses []netip.Addr // or were read before it left
	targets   []judgement
}

// appendAddresses appends the addresses, up to maxAddresses.
func (c *contents) appendAddresses(dst []netip.Addr) []netip.Addr {
	if c.reply == nil {
		return append(dst, c.addresses...)
	}
	return appendAddresses(dst, c.reply)
}

// read finds the alias targets of a query's reply, but for those that its stanza excepts, and asks for those that the cache has not.
func (e *engine) read(q *query, reply *dns.Msg, s *stanza) {
	q.found.reply = reply
	records := reply.Answer
	if len(records) > maxJudged { // what is left out is what clients come to last
		records = slices.Clone(records)
		slices.SortStableFunc(records, func(a, b dns.RR) int { return cmp.Compare(priorityOf(a), priorityOf(b)) })
	}
	for _, rr := range records {
		if name := targetOf(rr); name != "" && len(q.found.targets) < maxJudged && !s.excepts(name) {
			e.addTarget(q, name)
		}
	}
}

// addTarget looks one alias target up, unless it is the qname or was seen in this reply before.
func (e *engine) addTarget(q *query, alias string) {
	name, made := normal(alias, q.name[:])
	if q.own.name == name {
		return
	}
	at := len(q.found.targets)
	for i := range at {
		if q.found.targets[i].name == name {
			return
		}
	}
	q.found.targets = q.targets[:at+1]
	e.judge(&q.targets[at], e.cache.hash(name), name, made, q.at)
	if !q.targets[at].missed {
		cacheHits.Inc() // those of the queries' own names are counted with their rows
	}
}

// judge looks a normalised name up by its hash for j, which is empty, and asks for it where the cache has no verdict; made tells that the name
// stands in a buffer, now is the query's time.
func (e *engine) judge(j *judgement, hash uint64, name string, made bool, now int64) {
	j.hash = hash
	if v := e.cache.get(hash, name, now); v != nil {
		j.name, j.verdict = v.name, v
		return
	}
	cacheMisses.Inc()
	if made {
		name = strings.Clone(name)
	}
	j.name, j.missed = name, true
	j.flight, j.verdict, j.reason = e.question(name)
}

// priorityOf is the place of a record among those that clients choose from, lowest first (RFC 9460, section 2.4.1); 0 where they have no choice.
func priorityOf(rr dns.RR) uint16 {
	switch rr := rr.(type) {
	case *dns.HTTPS:
		return rr.Priority
	case *dns.SVCB:
		return rr.Priority
	}
	return 0
}

// targetOf returns the name that a record makes an alias for, or "".
func targetOf(rr dns.RR) string {
	var target string
	switch rr := rr.(type) {
	case *dns.CNAME:
		target = rr.Target
	case *dns.DNAME:
		target = rr.Target
	case *dns.HTTPS:
		target = rr.Target
	case *dns.SVCB:
		target = rr.Target
	}
	if target == "." { // in SVCB and HTTPS: the owner itself, or no service
		return ""
	}
	return target
}
