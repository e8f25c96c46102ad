package verdict

import (
	"cmp"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"
)

func parseEndpoints(c *caddy.Controller, s *settings) error {
	args := c.RemainingArgs()
	if len(args) == 0 {
		return c.Err("no endpoint: expected a URL such as http://127.0.0.1:8000")
	}
	for i, arg := range args {
		u, err := url.Parse(arg)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || !hasPort(u) || u.User != nil ||
			u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
			return c.Errf("endpoint '%s': expected a URL such as http://127.0.0.1:8000", arg)
		}
		if !isHost(u.Hostname()) {
			return c.Errf("endpoint '%s': host '%s', expected an IP address or a name (several endpoints have spaces between)", arg, u.Hostname())
		}
		if !strings.Contains(u.Host, "%") { // a zone is as its machine spells it
			u.Host = strings.ToLower(u.Host)
		}
		if args[i] = strings.TrimRight(u.String(), "/"); slices.Contains(args[:i], args[i]) {
			return c.Errf("endpoint '%s' given twice", arg)
		}
	}
	s.engine.endpoints = strings.Join(args, " ")
	return nil
}

// isHost tells whether something can be there: an address, or a name that is not meant as one (its last label is no number). What lies
// beyond ASCII is looked up as xn--...
func isHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	_, whole := dns.IsDomainName(host)
	name := strings.TrimSuffix(host, ".")
	last := name[strings.LastIndexByte(name, '.')+1:]
	return whole && strings.Trim(last, "0123456789") != "" && !strings.ContainsFunc(host, func(r rune) bool {
		return r < utf8.RuneSelf && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_.", r)
	})
}

// hasPort tells whether a URL names no port, which is the scheme's, or one that there is.
func hasPort(u *url.URL) bool {
	port, err := strconv.ParseUint(cmp.Or(u.Port(), "80"), 10, 16)
	return err == nil && port > 0
}

func parseToken(c *caddy.Controller, s *settings) (err error) {
	s.engine.tokenFile, err = one(c, "a file")
	return err
}

func parseTLS(c *caddy.Controller, s *settings) error {
	s.tlsArgs = c.RemainingArgs()
	if len(s.tlsArgs) < 1 || len(s.tlsArgs) > 3 {
		return c.Errf("tls: %d arguments, expected [CERT KEY] [CA]", len(s.tlsArgs))
	}
	s.engine.tls = strings.Join(s.tlsArgs, " ")
	return nil
}

// issued is a name that the cluster issues tokens for; reports under any other are refused.
var issued = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$`)

func parseResolver(c *caddy.Controller, s *settings) (err error) {
	if s.engine.resolver, err = one(c, "a name"); err == nil && !issued.MatchString(s.engine.resolver) {
		return c.Errf("resolver '%.80s': expected the name that its token was issued for, 1 to 63 of letters, digits, `.`, `_`, `@`, `-`", s.engine.resolver)
	}
	return err
}

func parseMode(c *caddy.Controller, s *settings) error {
	i, err := choice(c, "monitor", "enforce")
	s.stanza.mode = mode(i)
	return err
}

func parseTimeout(c *caddy.Controller, s *settings) (err error) {
	s.engine.timeout, err = duration(c, time.Millisecond, 10*time.Second)
	return err
}

func parseCache(c *caddy.Controller, s *settings) (err error) {
	if s.engine.capacity, err = number(c, leastCapacity, 1<<28); err != nil {
		return err
	}
	if c.NextArg() {
		s.engine.unheard, err = durationOf(c, "cache", c.Val(), time.Second, 24*time.Hour)
	}
	return cmp.Or(err, end(c))
}

func parseFrame(c *caddy.Controller, s *settings) (err error) {
	if s.engine.frame, err = number(c, 1, maxFrame); err != nil {
		return err
	}
	if c.NextArg() {
		s.engine.wait, err = durationOf(c, "frame", c.Val(), 0, time.Second)
	}
	return cmp.Or(err, end(c))
}

func parseMaxConcurrent(c *caddy.Controller, s *settings) (err error) {
	if s.engine.maxConcurrent, err = number(c, 1, 1024); err != nil {
		return err
	}
	return end(c)
}

func parseExcept(c *caddy.Controller, s *settings) error {
	args := c.RemainingArgs()
	if len(args) == 0 {
		return c.Err("except: expected one or more zones")
	}
	for _, arg := range args {
		zones := plugin.Host(arg).NormalizeExact()
		if len(zones) == 0 || strings.Contains(arg, "*") || strings.ContainsFunc(arg, func(r rune) bool { return r >= utf8.RuneSelf }) {
			return c.Errf("except: '%s': expected a zone, which is all below it too, as it is asked for (xn--...)", arg)
		}
		s.stanza.except = append(s.stanza.except, zones...)
	}
	return nil
}
