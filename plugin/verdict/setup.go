package verdict

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	clog "github.com/coredns/coredns/plugin/pkg/log"
	pkgtls "github.com/coredns/coredns/plugin/pkg/tls"
	"github.com/coredns/coredns/plugin/pkg/trace"
)

const pluginName = "verdict"

// Version is what the reports say of this plugin.
const Version = "0.1.0"

var log = clog.NewWithPlugin(pluginName)

func init() {
	plugin.Register(pluginName, setup)
	caddy.OnProcessExit = append(caddy.OnProcessExit, engines.closeAll)
}

func setup(c *caddy.Controller) error {
	s, err := parse(c)
	if err != nil {
		return plugin.Error(pluginName, err)
	}
	wrong := func(err error) error { return plugin.Error(pluginName, c.Err(err.Error())) } // of the stanza whose last line is read
	block := dnsserver.GetConfig(c)
	s.below(block.Root)
	all, ok := c.Get(corefileKey{}).(*corefile)
	if !ok {
		all = new(corefile)
		c.Set(corefileKey{}, all)
		all.follow(c)
	}
	for _, other := range all.configs {
		if err := conflict(s.engine, other); err != nil {
			return wrong(err)
		}
	}
	all.configs = append(all.configs, s.engine)
	tlsConfig, err := tlsOf(s)
	if err != nil {
		return wrong(err)
	}
	// What would stop the start is found now, while the former configuration still serves.
	if _, err := readToken(s.engine.tokenFile); err != nil {
		return wrong(err)
	}
	warnOfPlainToken(s.engine.urls())

	h := &Handler{stanza: s.stanza, counters: counters{zone: zonesOf(c.ServerBlockKeys)}}
	c.OnStartup(func() error {
		h.counters.view, h.traced = block.ViewName, traced(block) // settled after every setup
		return h.start(all, s.engine, tlsConfig)
	})
	block.AddPlugin(func(next plugin.Handler) plugin.Handler {
		h.Next = next
		return h
	})
	return nil
}

// start gives the handler its engine.
func (h *Handler) start(by *corefile, config engineConfig, tlsConfig *tls.Config) (err error) {
	if h.engine, err = engines.acquire(by, config, h.mode, tlsConfig); err != nil {
		return plugin.Error(pluginName, err)
	}
	h.started.Store(true)
	return nil
}

// zonesOf is the zones of a server block as the metrics have them. A server has the first zone's plugins for all of them. One may be
// there on several transports.
func zonesOf(keys []string) string {
	var zones []string
	for _, zone := range plugin.OriginsFromArgsOrServerBlock(nil, keys) {
		if !slices.Contains(zones, zone) {
			zones = append(zones, zone)
		}
	}
	return strings.Join(zones, ",")
}

// traced tells whether a plugin of a server block traces queries: *trace*, or another that says so as it does.
func traced(block *dnsserver.Config) bool {
	return slices.ContainsFunc(block.Handlers(), func(h plugin.Handler) bool {
		_, ok := h.(trace.Trace)
		return ok
	})
}

func tlsOf(s *settings) (*tls.Config, error) {
	if !strings.Contains(s.engine.endpoints, "https://") {
		return nil, nil
	}
	config, err := pkgtls.NewTLSConfigFromArgs(s.tlsArgs...)
	if err != nil {
		return nil, fmt.Errorf("tls %s: %w: expected [CERT KEY] [CA], each a file in PEM", s.engine.tls, err)
	}
	return config, nil
}

// warnOfPlainToken tells of a token that would cross a network in clear.
func warnOfPlainToken(urls []string) {
	for _, text := range urls {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "http" || u.Hostname() == "localhost" {
			continue
		}
		if address, err := netip.ParseAddr(u.Hostname()); err != nil || !address.IsLoopback() {
			log.Warningf("Endpoint %s: names and token cross the network in clear; use https", text)
		}
	}
}
