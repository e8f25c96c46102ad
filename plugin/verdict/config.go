package verdict

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/plugin"
)

// Defaults of the Corefile's options; README.md gives the reason of each.
const (
	defaultTimeout       = 100 * time.Millisecond
	defaultCapacity      = 131_072 // verdicts
	defaultUnheard       = 1 * time.Hour
	defaultFrame         = 256 // names
	defaultWait          = 5 * time.Millisecond
	defaultMaxConcurrent = 8 // frames in flight

	lateFactor = 10 // a frame is given up after so many timeouts, or lateLeast
	lateLeast  = 1 * time.Second
)

// engineConfig is what an engine is made of; stanzas with equal ones share it. It is comparable.
type engineConfig struct {
	endpoints     string // URLs with spaces between
	tokenFile     string
	resolver      string
	tls           string // arguments of `tls` with spaces between
	timeout       time.Duration
	capacity      int
	unheard       time.Duration // a verdict's life after the cluster was last heard
	frame         int
	wait          time.Duration
	maxConcurrent int
	silent        bool // reports nothing: a replay
}

func (c engineConfig) urls() []string { return strings.Fields(c.endpoints) }

// identity is what stanzas share an engine by.
func (c engineConfig) identity() [3]string { return [3]string{c.endpoints, c.tokenFile, c.resolver} }

// stanza is what one stanza says beside its engine.
type stanza struct {
	mode      mode
	hold      bool     // ask first, look up then
	servfail  bool     // SERVFAIL where there is no verdict in time
	refuseDO  bool     // REFUSED instead of an unsigned answer to who asked for signatures
	targetAll bool     // the model's verdict on an alias target acts too
	except    []string // zones whose names are not judged
}

// excepts tells whether a name is in a zone whose names are not judged.
func (s *stanza) excepts(name string) bool {
	return len(s.except) > 0 && plugin.Zones(s.except).Contains(name)
}

type settings struct {
	engine  engineConfig
	stanza  stanza
	tlsArgs []string
}

var properties = map[string]func(*caddy.Controller, *settings) error{
	"token":          parseToken,
	"tls":            parseTLS,
	"resolver":       parseResolver,
	"mode":           parseMode,
	"timeout":        parseTimeout,
	"on_error":       either("pass", "servfail", func(s *stanza) *bool { return &s.servfail }),
	"upstream":       either("parallel", "hold", func(s *stanza) *bool { return &s.hold }),
	"cache":          parseCache,
	"frame":          parseFrame,
	"max_concurrent": parseMaxConcurrent,
	"except":         parseExcept,
	"dnssec":         either("forge", "refuse", func(s *stanza) *bool { return &s.refuseDO }),
	"targets":        either("lists", "all", func(s *stanza) *bool { return &s.targetAll }),
}

// parse reads the one stanza of a server block.
func parse(c *caddy.Controller) (*settings, error) {
	s := &settings{engine: engineConfig{
		timeout: defaultTimeout, capacity: defaultCapacity, unheard: defaultUnheard, frame: defaultFrame,
		wait: defaultWait, maxConcurrent: defaultMaxConcurrent,
	}}
	for i := 0; c.Next(); i++ {
		if i > 0 {
			return nil, c.Err(plugin.ErrOnce.Error())
		}
		if err := parseEndpoints(c, s); err != nil {
			return nil, err
		}
		seen := make(map[string]bool)
		for c.NextBlock() {
			property := c.Val()
			read, ok := properties[property]
			if !ok {
				return nil, c.Errf("unknown property '%s', expected one of %s", property, expectedProperties())
			}
			if seen[property] {
				return nil, c.Errf("property '%s' given twice", property)
			}
			seen[property] = true
			if err := read(c, s); err != nil {
				return nil, err
			}
		}
	}
	return s, complete(c, s)
}

// complete checks what only the whole stanza tells and sets what was left out.
func complete(c *caddy.Controller, s *settings) error {
	if s.engine.tokenFile == "" {
		return c.Err("no token: expected `token FILE`, issued by `verdict tokens issue`")
	}
	if len(s.tlsArgs) > 0 && !strings.Contains(s.engine.endpoints, "https://") {
		return c.Errf("tls needs an endpoint with https://, found %s", s.engine.endpoints)
	}
	if s.engine.resolver == "" {
		name, err := os.Hostname()
		if err != nil {
			return c.Errf("no `resolver NAME`, and this machine has no name: %v", err)
		}
		s.engine.resolver = name
	}
	return nil
}

// below has the relative paths lie below *root*, as those of the in-tree plugins do; "" is none.
func (s *settings) below(root string) {
	place := func(path string) string {
		if root == "" || filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(root, path)
	}
	s.engine.tokenFile = place(s.engine.tokenFile)
	for i, path := range s.tlsArgs {
		s.tlsArgs[i] = place(path)
	}
	s.engine.tls = strings.Join(s.tlsArgs, " ")
}

func expectedProperties() string {
	names := make([]string, 0, len(properties))
	for name := range properties {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
