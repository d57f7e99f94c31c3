package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// A Dialer makes the TLS configurations of the connections that a server opens to another. Any goroutine may use it.
type Dialer struct{ l *loader }

// NewDialer reads the stores. The error matches ErrStore or ErrSettings and names the key at fault.
func NewDialer(o Options) (*Dialer, error) {
	l, err := newLoader(o)
	if err != nil {
		return nil, err
	}
	return &Dialer{l}, nil
}

// Config gives the configuration of one connection to ip, which host, a name or a literal address, resolved to: the
// peer's certificate has to lead to the trust store and, unless ssl.quorum.hostnameVerification is off, to bear either.
func (d *Dialer) Config(host string, ip net.IP) *tls.Config {
	cfg := d.l.newest().Clone()
	roots := cfg.ClientCAs // nil: the system's
	verify := d.l.opts.Side.HostnameVerification
	cfg.ServerName = host
	// The library would take the name alone; what Java takes is checked below instead.
	cfg.InsecureSkipVerify = true
	cfg.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return errors.New("certs: the peer shows no certificate")
		}
		leaf := state.PeerCertificates[0]
		opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool(), CurrentTime: time.Now()}
		for _, c := range state.PeerCertificates[1:] {
			opts.Intermediates.AddCert(c)
		}
		if _, err := leaf.Verify(opts); err != nil {
			return err
		}
		if !verify || bears(leaf, ip.String()) == nil {
			return nil
		}
		return bears(leaf, host)
	}
	return cfg
}

// bears checks that a certificate is that of host, a name or an address. Like Java, and unlike the library, it takes the
// common name of one that has no other names.
func bears(leaf *x509.Certificate, host string) error {
	if len(leaf.DNSNames)+len(leaf.IPAddresses)+len(leaf.EmailAddresses)+len(leaf.URIs) > 0 {
		return leaf.VerifyHostname(host)
	}
	name := leaf.Subject.CommonName
	if strings.EqualFold(name, host) {
		return nil
	}
	if domain, ok := strings.CutPrefix(name, "*."); ok && net.ParseIP(host) == nil {
		if _, rest, _ := strings.Cut(host, "."); strings.EqualFold(rest, domain) {
			return nil
		}
	}
	return fmt.Errorf("certs: the certificate of %q is not that of %s", name, host)
}
