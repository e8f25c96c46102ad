package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// transports are ways to ask a server; the ports are everyTransport's.
var transports = []struct{ name, port string }{
	{"udp", "1053"}, {"tcp", "1053"}, {"tcp-tls", "1853"}, {"https", "1443"}, {"quic", "2853"}, {"https3", "2443"},
}

// exchange asks a server that is there.
func exchange(t *testing.T, network, address string, r *dns.Msg) *dns.Msg {
	t.Helper()
	r.Id = dns.Id()
	m, err := once(network, address, r, 5*time.Second)
	if err != nil {
		t.Fatalf("%s: %v", network, err)
	}
	return m
}

// ask asks until there is an answer, for the server may still be starting.
func ask(t *testing.T, s *server, network, address, name string) *dns.Msg {
	t.Helper()
	r := new(dns.Msg).SetQuestion(name, dns.TypeA)
	r.SetEdns0(1232, false)
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if m, err := once(network, address, r, 2*time.Second); err == nil {
			return m
		}
	}
	t.Fatalf("no answer from %s %s:\n%s", network, address, s.out.String())
	return nil
}

// once asks over one of the transports, with a connection of its own.
func once(network, address string, r *dns.Msg, timeout time.Duration) (*dns.Msg, error) {
	config := &tls.Config{InsecureSkipVerify: true}
	switch network {
	case "https":
		way := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
		defer way.CloseIdleConnections()
		return overHTTPS(&http.Client{Transport: way, Timeout: timeout}, address, r)
	case "https3":
		way := &http3.Transport{TLSClientConfig: config}
		defer way.Close()
		return overHTTPS(&http.Client{Transport: way, Timeout: timeout}, address, r)
	case "quic":
		return overQUIC(config, address, r, timeout)
	}
	client := &dns.Client{Net: network, Timeout: timeout, TLSConfig: config}
	m, _, err := client.Exchange(r, address)
	return m, err
}

// overHTTPS asks by DNS over HTTPS (RFC 8484).
func overHTTPS(client *http.Client, address string, r *dns.Msg) (*dns.Msg, error) {
	packed, err := r.Pack()
	if err != nil {
		return nil, err
	}
	response, err := client.Post("https://"+address+"/dns-query", "application/dns-message", bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	m := new(dns.Msg)
	if err := m.Unpack(body); err != nil {
		return nil, fmt.Errorf("%s: %w, %q", response.Status, err, body)
	}
	return m, nil
}

// overQUIC asks by DNS over QUIC (RFC 9250): on a stream of its own, by id 0, two octets of length before each message.
func overQUIC(config *tls.Config, address string, r *dns.Msg, timeout time.Duration) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	config.NextProtos = []string{"doq"}
	connection, err := quic.DialAddr(ctx, address, config, nil)
	if err != nil {
		return nil, err
	}
	defer connection.CloseWithError(0, "")
	stream, err := connection.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	anonymous := r.Copy()
	anonymous.Id = 0
	packed, err := anonymous.Pack()
	if err != nil {
		return nil, err
	}
	if _, err := stream.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...)); err != nil {
		return nil, err
	}
	stream.Close()
	stream.SetReadDeadline(time.Now().Add(timeout))
	said, err := io.ReadAll(stream)
	if err != nil {
		return nil, err
	}
	if len(said) < 2 || int(binary.BigEndian.Uint16(said)) != len(said)-2 {
		return nil, fmt.Errorf("%d octets: expected one message with its length", len(said))
	}
	m := new(dns.Msg)
	if err := m.Unpack(said[2:]); err != nil {
		return nil, err
	}
	if m.Id != 0 {
		return nil, fmt.Errorf("id %d, expected 0", m.Id)
	}
	m.Id = r.Id // as the other transports give it
	return m, nil
}
