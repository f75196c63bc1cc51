package main

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// A job is what one run sends and how its answers are judged.
type job struct {
	operations int // how many are prepared; 0: as many as wanted
	good       int // status of a right answer
	fresh      bool
	keepAll    bool
	config     func(worker, operation int) *tls.Config
	request    func(out []byte, operation int) []byte
	verify     func(answer kept) error
}

// kept is an answer that is verified after the run.
type kept struct {
	worker, operation int
	body              []byte
}

var modes = map[string]func(*authority, int) (*job, error){
	"health":     prepareHealth,
	"sign":       prepareSign,
	"sign-new":   func(ca *authority, n int) (*job, error) { return fresh(prepareSign(ca, n)) },
	"renew":      func(ca *authority, _ int) (*job, error) { return prepareRenew(ca, true) },
	"renew-keep": func(ca *authority, _ int) (*job, error) { return prepareRenew(ca, false) },
	"wave":       prepareWave,
	"revoke":     prepareRevoke,
	"crl":        prepareCRL,
}

func fresh(j *job, err error) (*job, error) {
	if err == nil {
		j.fresh = true
	}
	return j, err
}

func (ca *authority) anonymous() func(int, int) *tls.Config {
	config := ca.client(nil)
	return func(int, int) *tls.Config { return config }
}

func prepareHealth(ca *authority, _ int) (*job, error) {
	return &job{
		good:    200,
		config:  ca.anonymous(),
		request: func(out []byte, _ int) []byte { return appendGet(out, ca.host, "/health") },
		verify: func(answer kept) error {
			var health struct{ Status string }
			if err := json.Unmarshal(answer.body, &health); err != nil || health.Status != "ok" {
				return fmt.Errorf("health is %q", answer.body)
			}
			return nil
		},
	}, nil
}

func prepareSign(ca *authority, n int) (*job, error) {
	tokens := make([][]byte, n)
	err := spread(n, func(i int) (err error) {
		name := ca.subjects[i%subjectCount].name
		tokens[i], err = ca.token("/1.0/sign", name, []string{name})
		return err
	})
	end := []byte(`"}`)
	seen := map[string]bool{}
	return &job{
		operations: n,
		good:       201,
		config:     ca.anonymous(),
		request: func(out []byte, i int) []byte {
			return appendPost(out, ca.host, "/sign", ca.subjects[i%subjectCount].body, tokens[i], end)
		},
		verify: func(answer kept) error {
			asked := ca.subjects[answer.operation%subjectCount]
			leaf, err := ca.checkIssued(answer.body, asked.name, &asked.key.PublicKey)
			if err != nil {
				return err
			}
			if seen[leaf.SerialNumber.String()] {
				return errors.New("two certificates have the same serial number")
			}
			seen[leaf.SerialNumber.String()] = true
			return nil
		},
	}, err
}

func prepareRenew(ca *authority, anew bool) (*job, error) {
	clients, err := ca.clients()
	if err != nil {
		return nil, err
	}
	configs := make([]*tls.Config, len(clients))
	for i, client := range clients {
		configs[i] = ca.client(client)
	}
	who := func(worker, operation int) int {
		if anew {
			return operation % len(clients)
		}
		return worker % len(clients)
	}
	return &job{
		good:    201,
		fresh:   anew,
		config:  func(worker, operation int) *tls.Config { return configs[who(worker, operation)] },
		request: func(out []byte, _ int) []byte { return appendPost(out, ca.host, "/renew") },
		verify: func(answer kept) error {
			old := clients[who(answer.worker, answer.operation)].Leaf
			leaf, err := ca.checkIssued(answer.body, old.DNSNames[0], old.PublicKey.(*ecdsa.PublicKey))
			if err == nil && sameSerial(leaf.SerialNumber, old.SerialNumber) {
				err = errors.New("the renewed certificate has the old serial number")
			}
			return err
		},
	}, nil
}

// prepareWave has a certificate issued for each machine that comes back.
func prepareWave(ca *authority, n int) (*job, error) {
	issued, err := ca.issue(n)
	if err != nil {
		return nil, err
	}
	who := func(operation int) *tls.Certificate {
		return &tls.Certificate{
			Certificate: [][]byte{issued[operation].Raw}, PrivateKey: ca.subjects[operation%subjectCount].key,
		}
	}
	return &job{
		operations: n,
		good:       201,
		fresh:      true,
		config:     func(_, operation int) *tls.Config { return ca.client(who(operation)) },
		request:    func(out []byte, _ int) []byte { return appendPost(out, ca.host, "/renew") },
		verify: func(answer kept) error {
			old := issued[answer.operation]
			_, err := ca.checkIssued(answer.body, old.DNSNames[0], old.PublicKey.(*ecdsa.PublicKey))
			return err
		},
	}, nil
}

// prepareRevoke has the certificates issued first: what is revoked is real.
func prepareRevoke(ca *authority, n int) (*job, error) {
	issued, err := ca.issue(n)
	if err != nil {
		return nil, err
	}
	bodies := make([][]byte, n)
	err = spread(n, func(i int) error {
		serial := issued[i].SerialNumber.String()
		token, err := ca.token("/1.0/revoke", serial, nil)
		bodies[i] = fmt.Appendf(nil,
			`{"serial":"%s","ott":"%s","reasonCode":4,"reason":"superseded","passive":true}`, serial, token)
		return err
	})
	return &job{
		operations: n,
		good:       200,
		config:     ca.anonymous(),
		request:    func(out []byte, i int) []byte { return appendPost(out, ca.host, "/revoke", bodies[i]) },
		verify: func(answer kept) error {
			var said struct{ Status string }
			if err := json.Unmarshal(answer.body, &said); err != nil || said.Status != "ok" {
				return fmt.Errorf("revocation is %q", answer.body)
			}
			return nil
		},
	}, err
}

func prepareCRL(ca *authority, _ int) (*job, error) {
	signers, err := ca.signers()
	if err != nil {
		return nil, err
	}
	j := &job{
		good:    200,
		config:  ca.anonymous(),
		request: func(out []byte, _ int) []byte { return appendGet(out, ca.host, "/crl") },
		verify: func(answer kept) error {
			list, err := x509.ParseRevocationList(answer.body)
			switch {
			case err != nil:
				return err
			case len(list.RevokedCertificateEntries) < ca.entries:
				return fmt.Errorf("the list has %d entries, not %d", len(list.RevokedCertificateEntries), ca.entries)
			case time.Now().After(list.NextUpdate):
				return errors.New("the list is out of date")
			}
			if !slices.ContainsFunc(signers, func(c *x509.Certificate) bool { return list.CheckSignatureFrom(c) == nil }) {
				return errors.New("the list is not signed by the issuer")
			}
			return nil
		},
	}
	return j, nil
}

// signers are the intermediates the CA tells of, each verified.
func (ca *authority) signers() ([]*x509.Certificate, error) {
	l := line{end: ca.endpoint, config: ca.client(nil)}
	defer l.close()
	status, body, err := l.ask(appendGet(nil, ca.host, "/intermediates"))
	if err != nil {
		return nil, err
	}
	var answer struct{ Crts []string }
	if err := json.Unmarshal(body, &answer); err != nil || status/100 != 2 {
		return nil, fmt.Errorf("/intermediates: status %d", status)
	}
	var found []*x509.Certificate
	for _, text := range answer.Crts {
		certificates, err := parseCertificates([]byte(text))
		if err != nil {
			return nil, err
		}
		if _, err := certificates[0].Verify(x509.VerifyOptions{Roots: ca.roots}); err != nil {
			return nil, err
		}
		found = append(found, certificates[0])
	}
	return found, nil
}

// parseAnswer reads the chain, leaf first, of an answer to a signing or renewing request.
func parseAnswer(body []byte) ([]*x509.Certificate, error) {
	var answer struct {
		Crt, CA   string
		CertChain []string
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, err
	}
	var chain []*x509.Certificate
	for _, text := range answer.CertChain {
		certificates, err := parseCertificates([]byte(text))
		if err != nil {
			return nil, err
		}
		chain = append(chain, certificates...)
	}
	leaf, err := parseCertificates([]byte(answer.Crt))
	if err != nil {
		return nil, err
	}
	if len(chain) == 0 || !chain[0].Equal(leaf[0]) {
		return nil, errors.New("crt does not begin certChain")
	}
	return chain, nil
}

// checkIssued verifies the certificate in an answer: chain to the root, this name and no other, this key, in date.
func (ca *authority) checkIssued(body []byte, name string, key *ecdsa.PublicKey) (*x509.Certificate, error) {
	chain, err := parseAnswer(body)
	if err != nil {
		return nil, err
	}
	leaf, above := chain[0], x509.NewCertPool()
	for _, certificate := range chain[1:] {
		above.AddCert(certificate)
	}
	wanted := x509.VerifyOptions{
		Roots: ca.roots, Intermediates: above, DNSName: name,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if _, err := leaf.Verify(wanted); err != nil {
		return nil, err
	}
	if others := len(leaf.DNSNames) + len(leaf.IPAddresses) + len(leaf.EmailAddresses) + len(leaf.URIs); others != 1 {
		return nil, fmt.Errorf("the certificate has %d names", others)
	}
	if !key.Equal(leaf.PublicKey) {
		return nil, errors.New("the certificate is for another key")
	}
	return leaf, nil
}
