package verdict

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coredns/caddy"
)

// one returns the property's only argument.
func one(c *caddy.Controller, what string) (string, error) {
	property := c.Val()
	args := c.RemainingArgs()
	if len(args) != 1 || args[0] == "" {
		return "", c.Errf("%s: %d arguments, expected %s", property, len(args), what)
	}
	return args[0], nil
}

func choice(c *caddy.Controller, words ...string) (int, error) {
	property := c.Val()
	word, err := one(c, strings.Join(words, " or "))
	if err != nil {
		return 0, err
	}
	i := slices.Index(words, word)
	if i < 0 {
		return 0, c.Errf("%s '%s': expected %s", property, word, strings.Join(words, " or "))
	}
	return i, nil
}

// either reads a property that is off or on, each by its word.
func either(off, on string, field func(*stanza) *bool) func(*caddy.Controller, *settings) error {
	return func(c *caddy.Controller, s *settings) error {
		i, err := choice(c, off, on)
		*field(&s.stanza) = i == 1
		return err
	}
}

func number(c *caddy.Controller, least, most int) (int, error) {
	property := c.Val()
	if !c.NextArg() {
		return 0, c.Errf("%s: expected a number from %d to %d", property, least, most)
	}
	n, err := strconv.Atoi(c.Val())
	if err != nil || n < least || n > most {
		return 0, c.Errf("%s '%s': expected a number from %d to %d", property, c.Val(), least, most)
	}
	return n, nil
}

func duration(c *caddy.Controller, least, most time.Duration) (time.Duration, error) {
	property := c.Val()
	text, err := one(c, "a duration such as 100ms")
	if err != nil {
		return 0, err
	}
	return durationOf(c, property, text, least, most)
}

func durationOf(c *caddy.Controller, property, text string, least, most time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < least || d > most {
		return 0, c.Errf("%s '%s': expected a duration from %s to %s", property, text, least, most)
	}
	return d, nil
}

// end makes sure that nothing follows on the line.
func end(c *caddy.Controller) error {
	if c.NextArg() {
		return c.Errf("unexpected '%s'", c.Val())
	}
	return nil
}
