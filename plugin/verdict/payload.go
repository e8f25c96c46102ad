package verdict

import (
	"bytes"
	"io"
	"net/http"
	"sync/atomic"
)

// payload gives a request its body, which can be sent again on another connection.
type payload func(*http.Request)

// octets is a body in one piece.
func octets(body []byte) payload {
	return func(request *http.Request) {
		request.ContentLength = int64(len(body))
		request.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		request.Body, _ = request.GetBody()
	}
}

// pieces is a body in several. readers counts who still reads them: an answer may come before net/http has sent all.
func pieces(readers *atomic.Int32, parts ...[]byte) payload {
	open := func() (io.ReadCloser, error) {
		readers.Add(1)
		all := make([]io.Reader, len(parts))
		for i, part := range parts {
			all[i] = bytes.NewReader(part)
		}
		return &counted{Reader: io.MultiReader(all...), readers: readers}, nil
	}
	return func(request *http.Request) {
		for _, part := range parts {
			request.ContentLength += int64(len(part))
		}
		request.GetBody = open
		request.Body, _ = open()
	}
}

// counted is a reader that is counted until it is closed.
type counted struct {
	io.Reader
	readers *atomic.Int32
	closed  atomic.Bool
}

// Close implements io.Closer; net/http may call it more than once.
func (c *counted) Close() error {
	if !c.closed.Swap(true) {
		c.readers.Add(-1)
	}
	return nil
}
