package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// An endpoint is one HTTPS server. Its chain is verified once; after that the same certificate will do, because
// verifying it again for every connection would be work of the generator, not of the server.
type endpoint struct {
	host    string // name:port
	name    string
	roots   *x509.CertPool
	timeout time.Duration
	trusted atomic.Pointer[x509.Certificate]
	state   atomic.Pointer[tls.ConnectionState]
}

func newEndpoint(address string, roots *x509.CertPool, timeout time.Duration) (*endpoint, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "https" || u.Port() == "" {
		return nil, fmt.Errorf("%q is not https://host:port", address)
	}
	return &endpoint{host: u.Host, name: u.Hostname(), roots: roots, timeout: timeout}, nil
}

// client is the TLS configuration of a client: no resumption, and X25519 alone so that every server does the same work.
func (e *endpoint) client(certificate *tls.Certificate) *tls.Config {
	config := &tls.Config{
		ServerName:         e.name,
		CurvePreferences:   []tls.CurveID{tls.X25519},
		NextProtos:         []string{"http/1.1"},
		InsecureSkipVerify: true, // VerifyConnection does it
		VerifyConnection:   e.check,
	}
	if certificate != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate, nil }
	}
	return config
}

func (e *endpoint) check(state tls.ConnectionState) error {
	leaf := state.PeerCertificates[0]
	if known := e.trusted.Load(); known != nil && bytes.Equal(known.Raw, leaf.Raw) {
		return nil
	}
	above := x509.NewCertPool()
	for _, certificate := range state.PeerCertificates[1:] {
		above.AddCert(certificate)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: e.roots, Intermediates: above, DNSName: e.name}); err != nil {
		return err
	}
	e.trusted.Store(leaf)
	e.state.Store(&state)
	return nil
}

// A line is a connection that is opened when it is needed and used for one request after the other.
type line struct {
	end    *endpoint
	config *tls.Config
	socket *tls.Conn
	reader *bufio.Reader
	body   []byte

	retryAfter string // of the last answer
}

func (l *line) open() error {
	raw, err := net.DialTimeout("tcp", l.end.host, l.end.timeout)
	if err != nil {
		return err
	}
	socket := tls.Client(raw, l.config)
	_ = socket.SetDeadline(time.Now().Add(l.end.timeout))
	if err := socket.Handshake(); err != nil {
		raw.Close()
		return err
	}
	l.socket = socket
	if l.reader == nil {
		l.reader = bufio.NewReaderSize(socket, 16<<10)
	} else {
		l.reader.Reset(socket)
	}
	return nil
}

func (l *line) close() {
	if l.socket != nil {
		l.socket.Close()
		l.socket = nil
	}
}

// ask sends a request and reads its answer. The body is valid until the next call.
func (l *line) ask(request []byte) (status int, body []byte, err error) {
	if l.socket == nil {
		if err := l.open(); err != nil {
			return 0, nil, err
		}
	} else {
		_ = l.socket.SetDeadline(time.Now().Add(l.end.timeout))
	}
	if _, err = l.socket.Write(request); err == nil {
		var last bool
		if status, last, err = l.read(); err == nil && last {
			l.close()
		}
	}
	if err != nil {
		l.close()
	}
	return status, l.body, err
}

var errAnswer = errors.New("not an HTTP answer")

// read takes one answer from the connection; last says that no other will come.
func (l *line) read() (status int, last bool, err error) {
	first, err := l.reader.ReadSlice('\n')
	if err != nil {
		return 0, true, err
	}
	if len(first) < 14 || string(first[:7]) != "HTTP/1." {
		return 0, true, errAnswer
	}
	if status, err = strconv.Atoi(string(first[9:12])); err != nil {
		return 0, true, errAnswer
	}
	length, chunked := 0, false
	l.retryAfter = ""
	for {
		header, err := l.reader.ReadSlice('\n')
		if err != nil {
			return 0, true, err
		}
		header = bytes.TrimRight(header, "\r\n")
		if len(header) == 0 {
			break
		}
		// Only four names matter, and their lengths tell them from nearly all others.
		name, value, _ := bytes.Cut(header, []byte(":"))
		switch value = bytes.TrimSpace(value); {
		case len(name) == 14 && strings.EqualFold(string(name), "content-length"):
			if length, err = strconv.Atoi(string(value)); err != nil || length < 0 {
				return 0, true, errAnswer
			}
		case len(name) == 17 && strings.EqualFold(string(name), "transfer-encoding"):
			chunked = strings.EqualFold(string(value), "chunked")
		case len(name) == 11 && strings.EqualFold(string(name), "retry-after"):
			l.retryAfter = string(value)
		case len(name) == 10 && strings.EqualFold(string(name), "connection"):
			last = strings.EqualFold(string(value), "close")
		}
	}
	l.body = l.body[:0]
	if !chunked {
		return status, last, l.take(length)
	}
	for {
		size, err := l.reader.ReadSlice('\n')
		if err != nil {
			return 0, true, err
		}
		digits, _, _ := bytes.Cut(bytes.TrimSpace(size), []byte(";"))
		n, err := strconv.ParseUint(string(digits), 16, 31)
		if err != nil {
			return 0, true, errAnswer
		}
		if err := l.take(int(n)); err != nil {
			return 0, true, err
		}
		if _, err := l.reader.ReadSlice('\n'); err != nil {
			return 0, true, err
		}
		if n == 0 {
			return status, last, nil
		}
	}
}

// take appends n octets of the connection to the body.
func (l *line) take(n int) error {
	start := len(l.body)
	if need := start + n; need > cap(l.body) {
		l.body = append(make([]byte, 0, max(need, 2*cap(l.body))), l.body...)
	}
	l.body = l.body[:start+n]
	_, err := io.ReadFull(l.reader, l.body[start:])
	return err
}

func appendGet(out []byte, host, path string) []byte {
	return fmt.Appendf(out, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, host)
}

func appendPost(out []byte, host, path string, parts ...[]byte) []byte {
	length := 0
	for _, part := range parts {
		length += len(part)
	}
	out = append(out, "POST "...)
	out = append(out, path...)
	out = append(out, " HTTP/1.1\r\nHost: "...)
	out = append(out, host...)
	out = append(out, "\r\nContent-Type: application/json\r\nContent-Length: "...)
	out = strconv.AppendInt(out, int64(length), 10)
	out = append(out, "\r\n\r\n"...)
	for _, part := range parts {
		out = append(out, part...)
	}
	return out
}

// isShut says that the server did not want the connection: how it turns away who would need a handshake.
func isShut(err error) bool {
	what := kind(err)
	return what == "closed" || what == "reset"
}

// kind names what went wrong in a word or two: errors are counted by it.
func kind(err error) string {
	var timeout net.Error
	switch text := err.Error(); {
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return "closed"
	case strings.Contains(text, "connection reset") || strings.Contains(text, "broken pipe"):
		return "reset"
	case strings.Contains(text, "connection refused"):
		return "refused"
	case strings.Contains(text, "cannot assign requested address"):
		return "no port left"
	default:
		return text
	}
}
