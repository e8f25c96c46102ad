package verdict

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	dialTimeout   = 5 * time.Second  // net gives the first of a name's addresses 2 s at least: time for the others too
	besideFrames  = 10               // connections beside those of frames: reports, checks, and what probes dial, one each 0.8 s
	idleTimeout   = 30 * time.Second // below the cluster's 90 s, so that it is rarely the cluster that hangs up
	errorBodyMost = 4096             // octets read of an answer that is an error
)

// endpoint is one address of the cluster.
type endpoint struct {
	url         string
	client      *http.Client
	breaker     breaker
	outstanding atomic.Int64
	lastGood    atomic.Int64 // nanotime of the last good answer; 0 for never
	checking    atomic.Bool  // a health check is on its way
}

// failure is a request that brought nothing to believe, and why. `request` is its id, as the cluster's log has it.
type failure struct {
	request    string
	reason     reason
	status     int // of the answer; 0 where there was none
	retryAfter time.Duration
	cause      error
}

func (f *failure) Error() string {
	said := f.reason.String() + ": " + f.cause.Error()
	if f.request != "" {
		said += " (request " + f.request + ")"
	}
	return said
}
func (f *failure) Unwrap() error { return f.cause }

func newEndpoint(url string, config *tls.Config, connections int) *endpoint {
	transport := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    dialTimeout,
		MaxIdleConns:           connections,
		MaxIdleConnsPerHost:    connections,
		MaxConnsPerHost:        connections,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
		TLSNextProto:           map[string]func(string, *tls.Conn) http.RoundTripper{}, // HTTP/1.1, as the contract says
	}
	return &endpoint{url: url, client: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// call makes one request, known as id to the cluster's log, and returns the whole body of a 200; any other outcome is
// a *failure.
func (e *endpoint) call(ctx context.Context, id, method, path, token string, body payload, most int64) ([]byte, error) {
	answer, err := e.exchange(ctx, id, method, path, token, body, most)
	if f, ok := err.(*failure); ok {
		f.request = id
	}
	return answer, err
}

func (e *endpoint) exchange(ctx context.Context, id, method, path, token string, body payload, most int64) ([]byte, error) {
	e.outstanding.Add(1)
	defer e.outstanding.Add(-1)
	request, err := http.NewRequestWithContext(ctx, method, e.url+path, nil)
	if err != nil {
		return nil, &failure{reason: reasonError, cause: err}
	}
	if body != nil {
		body(request)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Request-Id", id)
	// Every request may be repeated: verdicts change nothing and batches are numbered. An empty key says so to
	// net/http, which then retries on a connection that the cluster closed while idle; it is not sent.
	request.Header["Idempotency-Key"] = nil
	if deadline, ok := ctx.Deadline(); ok && path == verdictsPath {
		request.Header.Set("Verdict-Budget-Ms", strconv.FormatInt(max(1, time.Until(deadline).Milliseconds()), 10))
	}
	response, err := e.client.Do(request)
	if err != nil {
		return nil, &failure{reason: reasonOfError(err), cause: err}
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusSwitchingProtocols {
		return nil, refusal(response, nil) // its body is the bare connection, and no deadline ends a read of that
	}
	if response.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(response.Body, errorBodyMost))
		return nil, refusal(response, said)
	}
	answer, err := io.ReadAll(io.LimitReader(response.Body, most+1))
	if err != nil {
		return nil, &failure{reason: reasonOfError(err), cause: err}
	}
	if int64(len(answer)) > most {
		return nil, &failure{reason: reasonMalformed, cause: malformed("more than %d octets", most)}
	}
	e.lastGood.Store(nanotime())
	return answer, nil
}

func reasonOfError(err error) reason {
	var timeout net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		return reasonTimeout
	}
	if errors.Is(err, context.Canceled) {
		return reasonShutdown
	}
	return reasonError
}

// refusal says why an answer that is not a 200 was given.
func refusal(response *http.Response, body []byte) *failure {
	f := &failure{reason: reasonError, status: response.StatusCode, cause: fmt.Errorf("%s: %.200q", response.Status, body)}
	switch response.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		f.reason = reasonUnauthorised
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		f.reason = reasonOverload
		f.retryAfter = retryAfter(strings.TrimSpace(response.Header.Get("Retry-After")))
	case http.StatusGatewayTimeout:
		f.reason = reasonTimeout
	}
	return f
}

// retryAfter reads the header of that name, seconds or a date, as a time from now; 0 for none.
func retryAfter(header string) time.Duration {
	pause := time.Duration(0)
	if seconds, err := strconv.ParseUint(header, 10, 32); err == nil {
		pause = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		pause = time.Until(at)
	}
	return max(0, min(pause, retryAfterMost))
}
