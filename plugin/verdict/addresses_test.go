//go:build linux

package verdict

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// silent is a port of an address on which connections are not answered, as on a machine that is off: its backlog is full.
func silent(t *testing.T, address [4]byte) (port int) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: address}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	bound, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port = bound.(*syscall.SockaddrInet4).Port
	to := net.JoinHostPort(net.IP(address[:]).String(), strconv.Itoa(port))
	for range 10 {
		c, err := net.DialTimeout("tcp", to, 200*time.Millisecond)
		if err != nil {
			return port
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatalf("%s still takes connections", to)
	return 0
}

// resolving has names resolve to the addresses given, in their order.
func resolving(t *testing.T, addresses ...string) {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan struct{})
	server := &dns.Server{PacketConn: pc, NotifyStartedFunc: func() { close(started) }}
	server.Handler = dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		m := new(dns.Msg).SetReply(r)
		for _, address := range addresses {
			if q := r.Question[0]; q.Qtype == dns.TypeA {
				m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: q.Qclass}, A: net.ParseIP(address)})
			}
		}
		w.WriteMsg(m)
	})
	go server.ActivateAndServe()
	<-started
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", pc.LocalAddr().String())
	}}
	t.Cleanup(func() { net.DefaultResolver = before; server.Shutdown() })
}

// TestAnAddressThatIsOffIsPassedOver: of a name's addresses the first may belong to a machine that is off; the next is tried.
func TestAnAddressThatIsOffIsPassedOver(t *testing.T) {
	port := strconv.Itoa(silent(t, [4]byte{127, 0, 0, 2}))
	s := newStub(t)
	second := httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	second.Listener.Close()
	listener, err := net.Listen("tcp", "127.0.0.3:"+port)
	if err != nil {
		t.Fatal(err)
	}
	second.Listener = listener
	second.Start()
	t.Cleanup(second.Close)
	resolving(t, "127.0.0.2", "127.0.0.3")
	config := testConfig(t, "http://cluster.test:"+port)
	config.timeout = defaultTimeout
	e := newTestEngine(t, config)
	eventually(t, "a verdict from the second address", func() bool {
		_, v, _ := e.question("www.example.org")
		return v != nil
	})
}
