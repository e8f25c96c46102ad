package verdict

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"
)

// Handler judges the queries of one server block.
type Handler struct {
	Next plugin.Handler
	stanza
	engine    *engine     // set before the first query
	started   atomic.Bool // the engine is set: *ready* asks while the start goes on
	counters  counters
	described atomic.Bool // metadata is on in this server block
	traced    bool        // a plugin of this server block begins spans
}

var _ plugin.Handler = (*Handler)(nil)

// Name implements plugin.Handler.
func (h *Handler) Name() string { return pluginName }

// ServeDNS implements plugin.Handler. It writes a reply, or passes on; never both.
//
// The chain runs on top of this frame, so it is kept small: what needs more room has returned by then. See query for why.
func (h *Handler) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	q := h.begin(ctx, w, r)
	if q == nil {
		// What is not judged is not judged by what is looked up for it either.
		return plugin.NextOrFailure(h.Name(), h.Next, context.WithValue(ctx, captureKey{}, h), w, r)
	}
	if m, rcode, err := h.before(q); rcode != undecided {
		return q.finish(m, rcode, err)
	}
	c := q.capture()
	if h.Next != nil && !h.traced {
		rcode, err := h.Next.ServeDNS(c, c, r)
		return h.after(q, c, rcode, err)
	}
	rcode, err := plugin.NextOrFailure(h.Name(), h.Next, c, c, r)
	return h.after(q, c, rcode, err)
}

// undecided is no rcode: the chain is to be asked.
const undecided = -1

// begin takes a query up and looks its name up; nil for one that is not judged.
//
//go:noinline
func (h *Handler) begin(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) *query {
	if !judged(r) || ctx.Value(captureKey{}) != nil || h.excepts(r.Question[0].Name) {
		return nil
	}
	q := newQuery(ctx, w, r)
	name, made := normal(r.Question[0].Name, q.name[:])
	hash := h.engine.cache.hash(name)
	h.engine.cache.expect(hash)
	q.at, q.client = nanotime(), clientOf(w)
	q.mode, q.override = h.engine.directives.Load().modeFor(q.client, h.mode)
	if q.mode == modeOff {
		q.release()
		return nil
	}
	h.engine.judge(&q.own, hash, name, made, q.at)
	if v := q.own.verdict; v != nil && v.action == passthru {
		h.engine.reporter.notes.expect(hash, r.Question[0].Qtype, q.client, v)
	}
	if q.own.flight != nil {
		q.deadline = time.Now().Add(h.engine.config.timeout)
	}
	return q
}

// before decides what needs no answer of the chain: the reply to be written, if any, and what to return.
//
//go:noinline
func (h *Handler) before(q *query) (*dns.Msg, int, error) {
	if q.mode == modeMonitor {
		return nil, undecided, nil
	}
	if h.hold {
		asked := q.own.flight
		h.await(q, q.deadline)
		switch {
		case q.own.verdict != nil:
		case h.servfail:
			return h.fail(q, decide(&q.own, nil, false))
		default:
			q.own.flight = asked // the verdict may come while the answer is looked up
		}
	}
	if v := q.own.verdict; v != nil && v.action != passthru {
		return h.act(q, decision{by: v, target: -1})
	}
	return nil, undecided, nil
}

// after decides what becomes of the chain's answer and ends the query.
//
//go:noinline
func (h *Handler) after(q *query, c *capture, rcode int, err error) (int, error) {
	if q.mode == modeMonitor {
		return q.finish(h.watch(q, c, rcode, err))
	}
	return q.finish(h.enforce(q, c, rcode, err))
}

// judged tells whether a message is a query that has a verdict: one question of class IN, no transfer. Resolvers answer one of class ANY
// with what class IN has, so it would be a way past the verdict.
func judged(r *dns.Msg) bool {
	if r.Opcode != dns.OpcodeQuery || r.Response || len(r.Question) != 1 {
		return false
	}
	if qclass := r.Question[0].Qclass; qclass != dns.ClassINET && qclass != dns.ClassANY {
		return false
	}
	qtype := r.Question[0].Qtype
	return qtype != dns.TypeAXFR && qtype != dns.TypeIXFR
}

// watch serves a query in monitor mode: the reply leaves at once, the record follows when the verdicts are there.
func (h *Handler) watch(q *query, c *capture, rcode int, err error) (*dns.Msg, int, error) {
	sent := h.read(q, c, rcode)
	if !q.own.landed() || !allLanded(q.found.targets) {
		h.watchLate(q, sent)
		return captured(c, rcode, err)
	}
	h.note(q, decide(&q.own, q.found.targets, h.targetAll), sent, false)
	return captured(c, rcode, err)
}

// watchLate records a query in monitor mode whose verdicts are not there yet. It does so beside the query, so that
// nothing waits that is in front of it: neither a pipelined query nor another plugin's clock.
func (h *Handler) watchLate(q *query, sent int) {
	q.deadline = h.until(q)
	late := q.later()
	labels := h.counters.server(late.ctx)
	h.engine.beside(func() {
		defer late.release()
		h.engine.awaitAll(&late.own, late.found.targets, late.deadline)
		h.noteWith(labels, nil, late, decide(&late.own, late.found.targets, h.targetAll), sent, false)
	})
}

// enforce serves a query whose own verdict lets it pass or is still on its way: the chain has looked the answer up, now
// answer and verdicts meet.
func (h *Handler) enforce(q *query, c *capture, rcode int, err error) (*dns.Msg, int, error) {
	sent := h.read(q, c, rcode)
	if h.hold && !q.own.landed() {
		q.own.flight = nil // it had its time before the look-up; what follows is its alias targets'
	}
	if !q.own.landed() || !allLanded(q.found.targets) {
		h.await(q, h.until(q))
	}
	d := decide(&q.own, q.found.targets, h.targetAll)
	switch {
	case c.reply == nil || c.passed || c.reply.Rcode == dns.RcodeNameError:
		// Nothing to replace, or an NXDOMAIN, which stands.
	case d.by != nil:
		return h.act(q, d)
	case d.missing != reasonNone && h.servfail:
		return h.fail(q, d)
	}
	h.note(q, d, sent, false)
	return captured(c, rcode, err)
}

// await holds a query up until its verdicts are there, at most until the deadline.
func (h *Handler) await(q *query, deadline time.Time) {
	started := time.Now()
	h.engine.awaitAll(&q.own, q.found.targets, deadline)
	q.latency += time.Since(started).Microseconds()
}

// until is when a query that has its answer stops waiting: a timeout after it came, or, where its own verdict is there by now, after the
// answer. Else a slow look-up would leave no time for the alias targets that it brought.
func (h *Handler) until(q *query) time.Time {
	if q.own.landed() {
		return time.Now().Add(h.engine.config.timeout)
	}
	return q.deadline
}

// read reads the captured reply; it returns the rcode that the client gets if that is sent, -1 where nothing is.
func (h *Handler) read(q *query, c *capture, rcode int) int {
	switch {
	case c.reply == nil && !c.passed && plugin.ClientWrite(rcode):
		return -1
	case c.reply == nil:
		return rcode
	}
	h.engine.read(q, c.reply, &h.stanza)
	return c.reply.Rcode
}

// act gives the reply that the verdict asks for.
func (h *Handler) act(q *query, d decision) (*dns.Msg, int, error) {
	udp := d.by.action == drop && q.overUDP()
	m := replyFor(q.r, act{verdict: d.by, override: q.override, refuse: h.refuseDO, udp: udp})
	sent := -1
	if m != nil {
		sent = m.Rcode
	}
	h.note(q, d, sent, true)
	return m, dns.RcodeSuccess, nil
}

// fail leaves the SERVFAIL of `on_error servfail` to the server: nothing was written.
func (h *Handler) fail(q *query, d decision) (*dns.Msg, int, error) {
	h.note(q, d, dns.RcodeServerFailure, false)
	return nil, dns.RcodeServerFailure, nil
}

// captured passes the captured reply on. Where nothing was captured, the chain's rcode and error stand.
func captured(c *capture, rcode int, err error) (*dns.Msg, int, error) {
	if c.reply == nil || c.passed {
		return nil, rcode, err
	}
	if !plugin.ClientWrite(rcode) {
		rcode = dns.RcodeSuccess // a reply is written: the server must not write another
	}
	return c.reply, rcode, err
}

func allLanded(targets []judgement) bool {
	all := true
	for i := range targets {
		all = targets[i].landed() && all
	}
	return all
}
