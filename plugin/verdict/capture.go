package verdict

import (
	"context"

	"github.com/miekg/dns"
)

// capture keeps the chain's reply until the verdict is there. It is the chain's context too, so that a look-up that
// the chain makes for this query through the whole server (file and template follow aliases so) is known for one: it
// is no query of the client's, and what it finds is judged as this reply's alias targets.
type capture struct {
	dns.ResponseWriter
	context.Context
	reply  *dns.Msg
	passed bool // something went to the client directly
}

// capture is a new one for a query. Its block stays with the query's room: one pool is visited, not two.
//
//go:noinline
func (q *query) capture() *capture {
	c := nextOf(&q.captures)
	c.ResponseWriter, c.Context = q.w, q.ctx
	return c
}

type captureKey struct{}

// Value implements context.Context.
func (c *capture) Value(key any) any {
	if key == (captureKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// WriteMsg keeps the first reply. A second one means that this is no single reply: both go out as they come.
func (c *capture) WriteMsg(m *dns.Msg) error {
	if c.reply == nil && !c.passed {
		c.reply = m
		return nil
	}
	if err := c.pass(); err != nil {
		return err
	}
	return c.ResponseWriter.WriteMsg(m)
}

// pass lets what was kept go to the client, and from now on all else.
func (c *capture) pass() error {
	if c.passed {
		return nil
	}
	c.passed = true
	if c.reply == nil {
		return nil
	}
	return c.ResponseWriter.WriteMsg(c.reply)
}

// Write keeps a packed reply likewise.
func (c *capture) Write(packed []byte) (int, error) {
	m := new(dns.Msg)
	if m.Unpack(packed) != nil {
		if err := c.pass(); err != nil {
			return 0, err
		}
		return c.ResponseWriter.Write(packed)
	}
	return len(packed), c.WriteMsg(m)
}
