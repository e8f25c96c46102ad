package verdict

import (
	"cmp"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/plugin"
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
		args[i] = strings.TrimRight(u.String(), "/")
	}
	s.engine.endpoints = strings.Join(args, " ")
	return nil
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

func parseResolver(c *caddy.Controller, s *settings) (err error) {
	s.engine.resolver, err = one(c, "a name")
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
		s.engine.unheard, err = durationOf(c, c.Val(), time.Second, 24*time.Hour)
	}
	return cmp.Or(err, end(c))
}

func parseFrame(c *caddy.Controller, s *settings) (err error) {
	if s.engine.frame, err = number(c, 1, maxFrame); err != nil {
		return err
	}
	if c.NextArg() {
		s.engine.wait, err = durationOf(c, c.Val(), 0, time.Second)
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
