package verdict

import (
	"fmt"
	"net/netip"
	"slices"
)

// mode is what the plugin does with a verdict.
type mode uint8

const (
	modeMonitor mode = iota // acts on nothing
	modeEnforce
	modeOff // asks nothing and records nothing; by override only
)

var modeNames = [...]string{"monitor", "enforce", "off"}

func (m mode) String() string { return modeNames[m] }

const maxOverrides = 10_000

// directives is what the cluster last told of how to act. It is never changed once it is shared.
type directives struct {
	paused  bool
	bits    []int                 // lengths of the prefixes, longest first
	clients map[netip.Prefix]mode // nil: it has told nothing yet
	wrong   string                // about an override that is left out
}

// newDirectives reads an acknowledgement's part of them. One bad override does not lose the others, but is told.
func newDirectives(a *acknowledgement) *directives {
	d := &directives{paused: a.Paused, clients: make(map[netip.Prefix]mode, len(a.Overrides))}
	for i, o := range a.Overrides {
		m, ok := index(modeNames[:], o.Mode)
		prefix, err := parsePrefix(o.Client)
		switch {
		case i >= maxOverrides:
			d.wrong = fmt.Sprintf("%d overrides: only the first %d count", len(a.Overrides), maxOverrides)
		case !ok:
			d.wrong = fmt.Sprintf("override of %.60q: mode %.20q, expected monitor, enforce or off", o.Client, o.Mode)
		case err != nil:
			d.wrong = fmt.Sprintf("override: client %.60q, expected an address or a prefix", o.Client)
		default:
			d.clients[prefix] = mode(m)
			if bits := prefix.Bits(); !slices.Contains(d.bits, bits) {
				d.bits = append(d.bits, bits)
			}
		}
	}
	slices.SortFunc(d.bits, func(a, b int) int { return b - a })
	return d
}

func parsePrefix(text string) (netip.Prefix, error) {
	if address, err := netip.ParseAddr(text); err == nil {
		return address.Unmap().Prefix(address.Unmap().BitLen())
	}
	prefix, err := netip.ParsePrefix(text)
	if mapped := prefix.Bits() - 96; mapped >= 0 && prefix.Addr().Is4In6() {
		prefix = netip.PrefixFrom(prefix.Addr().Unmap(), mapped)
	}
	return prefix.Masked(), err
}

// modeFor returns the mode for a client of a stanza with the given mode, and whether an override for this client
// set it. While everything is paused, nothing acts.
func (d *directives) modeFor(client netip.Addr, stanza mode) (m mode, override bool) {
	m = stanza
	for _, bits := range d.bits {
		if prefix, err := client.Prefix(bits); err == nil {
			if set, ok := d.clients[prefix]; ok {
				m, override = set, true
				break
			}
		}
	}
	if d.paused && m == modeEnforce {
		m = modeMonitor
	}
	return m, override
}
