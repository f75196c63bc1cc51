package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	subjectCount  = 64 // keys and requests in use; each is asked for again and again
	tokenLifetime = 10 * time.Minute
)

// An authority is the CA under load and what a client of it holds.
type authority struct {
	*endpoint
	url      string
	entries  int
	key      *ecdsa.PrivateKey
	header   string // of every token, encoded
	issuer   string
	rootHash string
	subjects []*subject
	clients  func() ([]*tls.Certificate, error)
}

// A subject is a key with a request for a certificate of one name.
type subject struct {
	name string
	key  *ecdsa.PrivateKey
	body []byte // JSON of a signing request up to the token
}

func openCA(o *options) (*authority, error) {
	text, err := os.ReadFile(o.root)
	if err != nil {
		return nil, err
	}
	roots, err := parseCertificates(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.root, err)
	}
	pool := x509.NewCertPool()
	for _, root := range roots {
		pool.AddCert(root)
	}
	end, err := newEndpoint(o.url, pool, o.timeout)
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256(roots[0].Raw)
	ca := &authority{endpoint: end, url: o.url, entries: o.entries, issuer: o.provisioner, rootHash: hex.EncodeToString(hash[:])}
	if o.key != "" {
		if err := ca.readKey(o.key); err != nil {
			return nil, fmt.Errorf("%s: %w", o.key, err)
		}
	}
	ca.subjects = make([]*subject, subjectCount)
	ca.clients = sync.OnceValues(ca.enroll)
	return ca, spread(subjectCount, func(i int) (err error) {
		ca.subjects[i], err = newSubject(fmt.Sprintf("host-%03d.load.test", i))
		return err
	})
}

func (ca *authority) tlsName() string {
	state := ca.state.Load()
	if state == nil {
		return ""
	}
	return fmt.Sprintf("%s %s %s", tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite), state.CurveID)
}

func (ca *authority) readKey(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var jwk struct{ Kty, Crv, Kid, D string }
	if err := json.Unmarshal(text, &jwk); err != nil {
		return err
	}
	if jwk.Kty != "EC" || jwk.Crv != "P-256" || jwk.D == "" {
		return errors.New("not a private P-256 JWK")
	}
	secret, err := base64.RawURLEncoding.DecodeString(jwk.D)
	if err != nil {
		return err
	}
	if ca.key, err = ecdsa.ParseRawPrivateKey(elliptic.P256(), secret); err != nil {
		return err
	}
	header, err := json.Marshal(map[string]string{"alg": "ES256", "kid": jwk.Kid, "typ": "JWT"})
	ca.header = base64.RawURLEncoding.EncodeToString(header)
	return err
}

// token makes a provisioner's token for one use.
func (ca *authority) token(path, subject string, names []string) ([]byte, error) {
	if ca.key == nil {
		return nil, errors.New("this mode needs -key")
	}
	var id [32]byte
	_, _ = rand.Read(id[:])
	now := time.Now()
	payload, err := json.Marshal(struct {
		Audience  string   `json:"aud"`
		Expires   int64    `json:"exp"`
		IssuedAt  int64    `json:"iat"`
		Issuer    string   `json:"iss"`
		ID        string   `json:"jti"`
		NotBefore int64    `json:"nbf"`
		Names     []string `json:"sans,omitempty"`
		Root      string   `json:"sha"`
		Subject   string   `json:"sub"`
	}{
		ca.url + path, now.Add(tokenLifetime).Unix(), now.Unix(), ca.issuer, hex.EncodeToString(id[:]), now.Unix(),
		names, ca.rootHash, subject,
	})
	if err != nil {
		return nil, err
	}
	text := append([]byte(ca.header), '.')
	text = base64.RawURLEncoding.AppendEncode(text, payload)
	digest := sha256.Sum256(text)
	r, s, err := ecdsa.Sign(rand.Reader, ca.key, digest[:])
	if err != nil {
		return nil, err
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return base64.RawURLEncoding.AppendEncode(append(text, '.'), signature), nil
}

func newSubject(name string) (*subject, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})))
	return &subject{name, key, fmt.Appendf(nil, `{"csr":%s,"notBefore":"","notAfter":"","ott":"`, text)}, err
}

// issue has n certificates made, for the subjects in turn; it is not part of what is timed.
func (ca *authority) issue(n int) ([]*x509.Certificate, error) {
	job, err := prepareSign(ca, n)
	if err != nil {
		return nil, err
	}
	job.keepAll = true
	loop := loop{ca: ca, job: job, conns: 16}
	if err := loop.connect(); err != nil {
		return nil, err
	}
	outcome := loop.run()
	if len(outcome.kept) != n {
		return nil, fmt.Errorf("%d of %d certificates could be issued beforehand: %v", len(outcome.kept), n, outcome.errors)
	}
	certificates := make([]*x509.Certificate, n)
	return certificates, spread(n, func(i int) error {
		chain, err := parseAnswer(outcome.kept[i].body)
		if err == nil {
			certificates[outcome.kept[i].operation] = chain[0]
		}
		return err
	})
}

// enroll gets a certificate for every subject.
func (ca *authority) enroll() ([]*tls.Certificate, error) {
	issued, err := ca.issue(len(ca.subjects))
	if err != nil {
		return nil, err
	}
	clients := make([]*tls.Certificate, len(issued))
	for i, certificate := range issued {
		clients[i] = &tls.Certificate{
			Certificate: [][]byte{certificate.Raw}, PrivateKey: ca.subjects[i].key, Leaf: certificate,
		}
	}
	return clients, nil
}

func parseCertificates(text []byte) (found []*x509.Certificate, err error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		found = append(found, certificate)
	}
	if len(found) == 0 {
		return nil, errors.New("no certificate in PEM")
	}
	return found, nil
}

// spread calls do for 0 to n-1 on every processor and returns an error of one of the calls.
func spread(n int, do func(i int) error) error {
	var group sync.WaitGroup
	var next atomic.Int64
	var failure atomic.Pointer[error]
	for range min(n, runtime.NumCPU()) {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && failure.Load() == nil; i = int(next.Add(1)) - 1 {
				if err := do(i); err != nil {
					failure.Store(&err)
				}
			}
		})
	}
	group.Wait()
	if err := failure.Load(); err != nil {
		return *err
	}
	return nil
}

func sameSerial(a, b *big.Int) bool { return a.Cmp(b) == 0 }
