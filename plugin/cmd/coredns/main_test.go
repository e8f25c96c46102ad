package main

import (
	"slices"
	"testing"

	"github.com/coredns/coredns/core/dnsserver"
)

func TestVerdictStandsWhereEveryQueryPasses(t *testing.T) {
	order := withVerdict(dnsserver.Directives)
	at := slices.Index(order, "verdict")
	for _, before := range []string{"metadata", "prometheus", "errors", "log", "dnstap", "acl"} {
		if i := slices.Index(order, before); i < 0 || i > at {
			t.Errorf("%s at %d, expected before verdict at %d", before, i, at)
		}
	}
	for _, after := range []string{"cache", "template", "hosts", "file", "forward"} {
		if i := slices.Index(order, after); i < at {
			t.Errorf("%s at %d, expected after verdict at %d", after, i, at)
		}
	}
}
