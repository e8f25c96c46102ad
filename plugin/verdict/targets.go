package verdict

import (
	"net/netip"
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
}

// contents is what a reply holds that is recorded or judged.
type contents struct {
	addresses []netip.Addr
	targets   []judgement
}

// read finds the addresses and alias targets of a query's reply, and asks for the targets that the cache has not.
func (e *engine) read(q *query, reply *dns.Msg) contents {
	found := contents{appendAddresses(q.addresses[:0], reply), q.targets[:0]}
	for _, rr := range reply.Answer {
		if name := targetOf(rr); name != "" && len(found.targets) < maxTargets {
			found.targets = e.addTarget(found.targets, q, name)
		}
	}
	q.used = len(found.targets)
	return found
}

// addTarget looks one alias target up, unless it is the qname or was seen in this reply before.
func (e *engine) addTarget(targets []judgement, q *query, target string) []judgement {
	name, made := normal(target, q.name[:])
	if q.own.name == name {
		return targets
	}
	for i := range targets {
		if targets[i].name == name {
			return targets
		}
	}
	return append(targets, e.judge(name, made, q.at))
}

// judge looks a normalised name up, and asks for it where the cache has no verdict; made tells that the name stands in a
// buffer, now is the query's time.
func (e *engine) judge(name string, made bool, now int64) judgement {
	hash := e.cache.hash(name)
	if v := e.cache.get(hash, name, now); v != nil {
		cacheHits.Inc()
		return judgement{name: v.name, hash: hash, verdict: v}
	}
	cacheMisses.Inc()
	if made {
		name = strings.Clone(name)
	}
	j := judgement{name: name, hash: hash}
	j.flight, j.verdict, j.reason = e.question(name)
	return j
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
