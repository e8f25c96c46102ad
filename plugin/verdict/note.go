package verdict

import (
	"context"

	"github.com/coredns/coredns/plugin/metadata"
	"github.com/coredns/coredns/request"
)

// note records what became of a query: the observation, the counters, the metadata. It must run before the reply is
// written, so that dnstap, which writes its message then, sees the metadata.
func (h *Handler) note(q *query, d decision, rcode int, enforced bool) {
	var m *values
	if h.described.Load() {
		m = told(q.ctx)
	}
	h.noteWith(h.counters.server(q.ctx), m, q, d, rcode, enforced)
}

func (h *Handler) noteWith(c *serverCounters, m *values, q *query, d decision, rcode int, enforced bool) {
	out := &q.out
	*out = outcome{verdict: q.own.verdict, reason: q.own.reason, rcode: rcode, enforced: enforced, latency: q.latency, missed: q.own.missed}
	out.plain = out.verdict != nil
	if !out.plain {
		out.verdict = nothing
	}
	out.action = out.verdict.action
	if d.by != nil && d.target >= 0 {
		out.action, out.rule, out.plain = d.by.action, "target:"+d.by.name, false
	}
	qtype, now := q.r.Question[0].Qtype, wallOf(q.at)
	h.engine.reporter.notes.note(q.own.hash, q.own.name, qtype, q.client, out, now, &q.found)
	c.count(out, d.missing)
	if m != nil {
		m.outcome, m.set = *out, true
		m.reason = d.missing // an alias target's, where that is what is missing
	}
	for i := range q.found.targets {
		t := &q.found.targets[i]
		*out = outcome{
			verdict: t.verdict, reason: t.reason, rcode: rcode, targetOf: q.own.name, parent: q.own.hash,
			enforced: enforced && d.target == i,
		}
		if out.verdict == nil {
			out.verdict = nothing
		}
		out.action = out.verdict.action
		h.engine.reporter.notes.note(t.hash, t.name, qtype, q.client, out, now, nil)
	}
}

// values is a query's outcome as metadata; it is filled when the query is noted.
type values struct {
	outcome
	set bool
}

type valuesKey struct{}

func told(ctx context.Context) *values {
	v, _ := ctx.Value(valuesKey{}).(*values)
	return v
}

var _ metadata.Provider = (*Handler)(nil)

// Metadata implements metadata.Provider: what log and dnstap may show of the verdict. In monitor mode a verdict that
// comes after the reply is not seen there; the values are empty then.
func (h *Handler) Metadata(ctx context.Context, state request.Request) context.Context {
	ctx, v := h.describing(ctx)
	for i := range shown {
		metadata.SetValueFunc(ctx, shown[i].name, func() string {
			if !v.set {
				return ""
			}
			return shown[i].read(&v.outcome)
		})
	}
	return ctx
}

// shown is the metadata of a query.
var shown = [...]struct {
	name string
	read func(*outcome) string
}{
	{"verdict/label", func(o *outcome) string { return o.verdict.label.String() }},
	{"verdict/tier", func(o *outcome) string { return o.verdict.tier.String() }},
	{"verdict/action", func(o *outcome) string { return o.action.String() }},
	{"verdict/source", func(o *outcome) string { return o.verdict.source.String() }},
	{"verdict/rule", (*outcome).because},
	{"verdict/model", func(o *outcome) string { return o.verdict.model }},
	{"verdict/reason", func(o *outcome) string { return o.reason.String() }},
	{"verdict/score", func(o *outcome) string { return float(o.verdict.score) }},
	{"verdict/enforced", func(o *outcome) string { return boolean(o.enforced) }},
}

// describing is the context of a query whose outcome is to be told, and where it will be.
func (h *Handler) describing(ctx context.Context) (context.Context, *values) {
	h.described.Store(true)
	v := new(values)
	return context.WithValue(ctx, valuesKey{}, v), v
}
